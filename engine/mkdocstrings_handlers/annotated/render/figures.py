"""
# Figures that follow the theme

Matplotlib draws black on white. Put into the page as it is, a figure would be a bright hole in a dark one; put there twice, light and dark, it would be
twice as heavy. So its SVG becomes part of the page, black becomes the color of the text around it, and white becomes nothing at all. Letters in a color take some of the text's color
with them, so that they can be read on either page: no color by itself is far enough from both white and black.

A figure of several panels says which part of it is each one's: the panel is a group whose `id` is `panel_x_y_width_height`. Each becomes a drawing of its own, side by side with the others as far as there is room.
"""

from __future__ import annotations

import re
from html import escape
from xml.etree import ElementTree as ET

from ..document import Document, SourceError
from ..understand.symbols import nearest

LINK = re.compile(r'(?<=href=")(?=[\w-]+\.html)')
SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
BLACK = re.compile(r"(?<![\w#-])(#000000|#000|black)(?![\w-])", re.IGNORECASE)
# Places are kept to a hundredth of a point, which nobody sees; Matplotlib writes six digits, most of a figure's weight.
PLACES = {"d", "x", "y", "points"}
STROKES = "*{stroke-linejoin: round; stroke-linecap: butt}"
DECIMAL = re.compile(r"-?\d+\.\d+")
COLOR = re.compile(r"fill:\s*(#[0-9a-f]{6}|gr[ae]y)(?![\w-])", re.IGNORECASE)
LEGIBLE = r"fill: color-mix(in srgb, \1 68%, currentColor)"
PANEL = re.compile(r"panel_" + "_".join([r"([\d.]+)"] * 4))
WHITE = re.compile(r"fill:\s*(#ffffff|#fff|white)(?![\w-])", re.IGNORECASE)


def inline_svg(svg: str, alt: str, prefix: str) -> str:
    """
    Ids are renamed in order of appearance. Matplotlib's are unique within one figure only, and random unless one takes care; a page may hold ten figures
    and must come out the same, byte by byte, each time it's built.
    """
    root = ET.fromstring(svg)
    places = {group: m for group in root.iter(f"{SVG}g") if (m := _place(group))}
    ids: dict[str, str] = {}
    for element in root.iter():
        if old := element.get("id"):
            ids[old] = f"{prefix}-{len(ids)}"

    used = {
        ref
        for element in root.iter()
        for value in element.attrib.values()
        for ref in _references(value)
    }
    for element in root.iter():
        element.tag = (
            element.tag.removeprefix(SVG) if isinstance(element.tag, str) else element.tag
        )
        for name, value in list(element.attrib.items()):
            del element.attrib[name]
            if name == "id" and value not in used:
                continue
            if name in PLACES:
                value = DECIMAL.sub(
                    lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), value
                )
            value = _renamed(_colored(value), ids) if name != "id" else ids[value]
            if element.tag == "text" and name == "style":
                value = COLOR.sub(LEGIBLE, value)
            element.set(name.removeprefix(XLINK), value)
    for metadata in root.findall("metadata"):
        root.remove(metadata)
    # A sheet in a drawing that is part of a page is a sheet of the page: Matplotlib's one rule, on `*`, would make a browser style everything once more
    # with every figure that it comes to. What the rule says is inherited, so the root can say it.
    for defs in root.findall("defs"):
        if [style.text for style in defs] == [STROKES]:
            root.remove(defs)
            root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}

    width = root.get("width", "")
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib["fill"] = "currentColor"
    if places:
        drawings = "".join(map(_text, _parts(root, places)))
        label = escape(alt)
        return f'<div class="panels" role="img" aria-label="{label}" style="max-width:{width}">{drawings}</div>'
    # The view box keeps the proportions; the width is the column's, up to the size it was drawn for. Below three quarters of it letters would be too small.
    least = f";min-width:calc(.7*{width})" if root.find(".//text") is not None else ""
    root.attrib |= {"role": "img", "aria-label": alt, "style": f"max-width:{width}{least}"}
    return _text(root)


def _place(group: ET.Element) -> re.Match[str] | None:
    return PANEL.fullmatch(group.get("id", ""))


def _parts(root: ET.Element, places: dict[ET.Element, re.Match[str]]) -> list[ET.Element]:
    """
    A drawing for each panel, as wide as its part of the figure and at least three quarters of that. What several of them use stays with the first: a reference leads anywhere in
    the page.
    """
    parts = []
    for group, place in places.items():
        x, y, width, height = place.groups()
        style = f"flex:{width} 1 calc(.772*{width}pt);max-width:{width}pt"
        box = {"viewBox": f"{x} {y} {width} {height}", "aria-hidden": "true", "style": style}
        part = ET.Element("svg", {**root.attrib, **box})
        part.append(group)
        parts.append(part)
    parts[0].extend(root.findall("defs"))
    return parts


def _text(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode", short_empty_elements=True)


def inline_png(data: str, alt: str) -> str:
    return f'<img src="data:image/png;base64,{"".join(data.split())}" alt="{escape(alt)}">'


def thumbnail(svg: str, prefix: str) -> str:
    """A figure as a sign of itself: its first panel, without a word, too small to be read and not there for who can't see it."""
    root = ET.fromstring(svg)
    for parent in [*root.iter()]:
        panels = [child for child in parent if _place(child)]
        for child in [*panels[1:], *parent.findall(f"{SVG}text")]:
            parent.remove(child)
    drawn = inline_svg(ET.tostring(root, encoding="unicode"), "", prefix)
    return f'<div class="thumbnail" aria-hidden="true">{drawn}</div>'


def figure(document: Document, anchor: str, folder: str, small: bool = False) -> str:
    """
    The figure of one section and where it comes from, for a page that shows nothing else of the document; `small`: its [thumbnail][mkdocstrings_handlers.annotated.render.figures.thumbnail] alone.
    `folder` leads from that page to the document's own. Raises `SourceError` for an anchor that no section has, or one whose section hasn't exactly one figure and its provenance.
    """
    sections = {section.anchor: section for section in document.sections}
    place = document.source.place
    if anchor not in sections:
        hint = nearest(anchor, sections, "Name the anchor of one.")
        raise SourceError(
            place, None, f"there is no section `#{anchor}` to take a figure from. {hint}"
        )
    outputs = sections[anchor].outputs
    drawings = [output for output in outputs if output.mime == "image/svg+xml"]
    sources = [output.data for output in outputs if 'class="provenance"' in output.data]
    if small and drawings:
        return thumbnail(drawings[0].data, f"{document.name}-{anchor}")
    if len(drawings) != 1 or len(sources) != 1:
        count = f"{len(drawings)} and {len(sources)}"
        raise SourceError(
            place, None, f"expected a figure and its provenance in `#{anchor}`, got {count}."
        )
    svg = inline_svg(drawings[0].data, drawings[0].alt, anchor)
    return f'<figure class="output" data-search-exclude="true">{svg}</figure>{LINK.sub(folder, sources[0])}'


def _references(value: str) -> list[str]:
    return re.findall(r"url\(#([^)]+)\)", value) + (
        [value[1:]] if value.startswith("#") else []
    )


def _renamed(value: str, ids: dict[str, str]) -> str:
    if value.startswith("#") and value[1:] in ids:
        return f"#{ids[value[1:]]}"
    return re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{ids.get(m[1], m[1])})", value)


def _colored(value: str) -> str:
    return BLACK.sub("currentColor", WHITE.sub("fill: none", value))
