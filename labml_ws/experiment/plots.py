r"""
# The look of the figures

What the figures and tables of the tutorials share: colors that mean the same everywhere, names at the lines rather than
in a legend. The rest of the package does without matplotlib; the style itself is a file, for anyone's
`plt.style.use("labml_ws.experiment.house")`.

A method's **color** is its normalization. The line is **solid with WS** and dashed without, so that the two differ
without color as well.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import pairwise
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from labml_ws.experiment.record import Run

COLORS = {
    "bn": "#2f86d1",
    "gn": "#d9730d",
    "bcn": "#12946a",
    "ln": "#b5569a",
    "none": "#8a8d91",
}
NAMES = {"bn": "BN", "gn": "GN", "bcn": "BCN", "ln": "LN", "none": "no norm"}
# WS, one step of it alone, or nothing, in front of a norm.
LINES = {"ws": "-", "scale": (0, (5, 1, 1, 1)), "center": (0, (1, 1)), "": (0, (4, 1.6))}
STEPS = {"scale": "scaling only", "center": "centering only"}


def look(net: str) -> dict[str, Any]:
    """
    ## How a method is drawn

    * `net`: the [name of a method][labml_ws.experiment.record.Run.net], like `gn`, `ws-gn` or `center-gn`
    * returns the keywords of `plot`: color, line style and label
    """
    before, _, norm = net.rpartition("-")
    if norm not in COLORS or before not in LINES:
        raise ValueError(
            f"expected one of {', '.join(COLORS)}, or one with ws-, center- or scale-, got {net}"
        )
    label = f"WS + {NAMES[norm]}" if before == "ws" else STEPS.get(before, NAMES[norm])
    return {"color": COLORS[norm], "linestyle": LINES[before], "label": label}


def plain_log(axis: "Axis", base: int = 10) -> None:
    """
    ## Plain numbers on a logarithmic scale

    1, 3, 10, 30 where matplotlib would write powers of ten; with another base, its powers: 0.5, 1, 2.

    * `axis`: an `xaxis` or `yaxis`
    """
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    if axis is axis.axes.xaxis:
        axis.axes.set_xscale("log")
    else:
        axis.axes.set_yscale("log")
    axis.set_major_locator(LogLocator(base, subs=(1, 3) if base == 10 else (1,), numticks=99))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def curves(
    axis: "Axes", runs: Sequence["Run"], value: Callable[[dict[str, Any]], float]
) -> None:
    """
    ## Through training

    A thick line per method through the means over its seeds, and a thin one for each of its runs. A run that ended early
    is in the means as far as it got.

    * `axis`: the axes; `runs`: what to draw, with [`measure` rows][labml_ws.experiment.record.Run.kind]
    * `value`: the number to draw of such a row
    """
    for net in dict.fromkeys(run.net for run in runs):
        lines = [
            {row["step"]: value(row) for row in run.kind("measure")}
            for run in runs
            if run.net == net
        ]
        style = look(net)
        for line in lines:
            axis.plot([*line], [*line.values()], color=style["color"], linewidth=0.6, alpha=0.5)
        steps = sorted({step for line in lines for step in line})
        axis.plot(
            steps, [mean(li[step] for li in lines if step in li) for step in steps], **style
        )


def label_ends(axis: "Axes", gap: float = 13.5, size: float = 11) -> None:
    """
    ## Names at the ends of lines

    Each line with a label gets it to the right of its last point, in its color. Where lines end close together the
    names are moved apart.

    * `axis`: the axes, with all lines drawn and limits set
    * `gap`: the least distance between two names, `size`: of the letters, both in points
    """
    # A height is counted in points, as distances between names are.
    figure = axis.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    ends = []
    for line in axis.get_lines():
        if not str(line.get_label()).startswith("_"):
            x = float(line.get_xdata()[-1])  # type: ignore[arg-type, index]
            y = float(line.get_ydata()[-1])  # type: ignore[arg-type, index]
            height = float(axis.transData.transform((x, y))[1]) * 72 / figure.dpi
            ends.append(End(height, x, y, str(line.get_label()), line.get_color()))
    ends.sort()
    for end, place in zip(ends, spread([end.height for end in ends], gap), strict=True):
        axis.annotate(
            end.label,
            (end.x, end.y),
            xytext=(6, place - end.height),
            textcoords="offset points",
            color=end.color,
            fontsize=size,
            va="center",
            annotation_clip=False,
        )


class End(NamedTuple):
    height: float
    x: float
    y: float
    label: str
    color: Any


def spread(heights: list[float], gap: float) -> list[float]:
    """
    * `heights`: in ascending order
    * returns them moved apart to at least `gap`, each group of neighbors around its own middle
    """
    groups: list[list[float]] = []  # the heights of those that touch
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _top(groups[-2], gap) + gap > _bottom(groups[-1], gap):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_bottom(group, gap) + gap * i for group in groups for i in range(len(group))]


def _bottom(group: list[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _top(group: list[float], gap: float) -> float:
    return _bottom(group, gap) + gap * (len(group) - 1)


def panels(figure: "Figure") -> None:
    """
    ## Panels that may stand below one another

    A figure of several panels is wider than a phone. This cuts it between them: each of its axes gets the numbers at its
    own axes, and notes its part of the figure in its `gid`, as `panel_x_y_width_height` in points from the upper left
    corner. In a notebook nothing else changes; a page lays the parts out in rows, as many as it has room for.

    * `figure`: finished, its axes from `subplots`, nothing drawn outside of them. It is saved tightly, as Jupyter does.
    * raises `ValueError` for a figure with a text or a legend of its own, which would belong to no part
    """
    import matplotlib as mpl

    if figure.texts or figure.legends:
        raise ValueError(
            "expected all words of a figure in its panels, got some of the figure's own: "
            "give each panel its title, labels and legend."
        )
    for axis in figure.axes:
        axis.tick_params(labelleft=True, labelbottom=True)
    figure.draw_without_rendering()
    whole = figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])
    across, down = {}, {}  # the stretch of each panel with its words, in inches from the corner
    for axis in figure.axes:
        box, place = axis.get_tightbbox(), axis.get_subplotspec()
        assert box is not None
        assert place is not None
        x, y = box.x0 / figure.dpi - whole.x0, whole.y1 - box.y1 / figure.dpi
        across[axis] = place.colspan.start, x, x + box.width / figure.dpi
        down[axis] = place.rowspan.start, y, y + box.height / figure.dpi
    columns, rows = cuts(across.values(), whole.width), cuts(down.values(), whole.height)
    for axis in figure.axes:
        (left, right), (top, bottom) = columns[across[axis][0]], rows[down[axis][0]]
        corner = 72 * left, 72 * top, 72 * (right - left), 72 * (bottom - top)
        axis.set_gid("_".join(["panel", *(f"{value:.1f}" for value in corner)]))


def cuts(
    stretches: Iterable[tuple[int, float, float]], end: float
) -> dict[int, tuple[float, float]]:
    """
    * `stretches`: for each panel its column, and where it begins and ends; rows just the same
    * `end`: of the figure
    * returns, for each column, where its part begins and ends: neighbors are cut apart in the middle between them
    """
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for column, start, stop in stretches:
        starts[column] = min(start, starts.get(column, start))
        ends[column] = max(stop, ends.get(column, stop))
    order = sorted(starts)
    between = [(ends[one] + starts[other]) / 2 for one, other in pairwise(order)]
    return dict(zip(order, pairwise([0.0, *between, end]), strict=True))


class Provenance:
    """
    ## Where a figure comes from

    One line, as text or, in a notebook, as HTML with a link to the data.

    * `runs`: what the figure shows
    """

    def __init__(self, runs: Sequence["Run"]) -> None:
        def every(value: Callable[["Run"], Any]) -> str:
            return ", ".join(map(str, sorted({value(run) for run in runs})))

        self.experiments = sorted({run.name.partition("/")[0] for run in runs})
        seeds = every(lambda run: run.config.seed)
        source = every(lambda run: run.about["data"]["source"].split()[-1])
        images = every(lambda run: run.config.train_images or run.about["data"]["train"])
        fingerprint = every(lambda run: run.about["data"]["fingerprint"])
        epochs = every(lambda run: run.config.epochs)
        torch = every(lambda run: run.about["versions"]["torch"])
        processor = every(lambda run: run.about["hardware"]["processor"])
        # What whoever ran it had to say, as that the images were compressed once more.
        note = every(lambda run: run.config.note).removeprefix(", ")
        day = every(lambda run: run.about["started"][:10])
        self.text = (
            f"{len(runs)} run{'s' * (len(runs) > 1)}, seed{'s' * (',' in seeds)} {seeds}; "
            f"{images} images of {source} ({fingerprint}), {epochs} epochs; "
            + (f"{note}; " if note else "")
            + f"torch {torch}, {processor}; {day}"
        )

    def __repr__(self) -> str:
        return f"docs/runs/{', '.join(self.experiments)}: {self.text}"

    def _repr_html_(self) -> str:
        links = ", ".join(
            f'<a href="recorded_run.html#{name}">{escape(name)}</a>'
            for name in self.experiments
        )
        text = re.sub(r"\d{4}-\d\d-\d\d", r'<span class="nobr">\g<0></span>', escape(self.text))
        return f'<p class="provenance">{links}: {text}</p>'


class Table:
    """
    ## A table of numbers

    HTML on a page, plain text in a terminal.

    * `title`: what stands above it
    * `heads`: of the columns, without the first, which holds the rows' names
    * `rows`: each a name and its cells, as text
    """

    def __init__(self, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        for name, *cells in rows:
            if len(cells) != len(heads):
                raise ValueError(
                    f"expected a cell for each of {len(heads)} heads in row {name!r}, "
                    f"got {len(cells)}"
                )
        self.title, self.heads, self.rows = title, ["", *heads], rows

    def _repr_html_(self) -> str:
        heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in self.heads[1:])
        rows = "".join(
            f'<tr><th scope="row">{escape(name)}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for name, *cells in self.rows
        )
        top = f"<caption>{escape(self.title)}</caption><thead><tr><td></td>{heads}</tr></thead>"
        return f'<table class="numbers">{top}<tbody>{rows}</tbody></table>'

    def __repr__(self) -> str:
        lines = [self.heads, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        justified = ("  ".join(map(str.rjust, line, widths)) for line in lines)
        return "\n".join([self.title, *justified])


class InShort:
    """
    ## What came out, first

    How a page of results opens: two or three findings, whose numbers are computed from the records like any other, and what they
    don't show. Markdown, so that a finding can lead to where it is measured.

    * `findings`: a sentence or two each
    * `limits`: what none of this shows
    """

    def __init__(self, findings: Sequence[str], limits: str) -> None:
        self.findings, self.limits = findings, limits

    def _repr_markdown_(self) -> str:
        items = "\n".join(f"* {finding}" for finding in self.findings)
        return f"**In short**\n\n{items}\n\n**It doesn\N{RIGHT SINGLE QUOTATION MARK}t show** {self.limits}"

    __repr__ = _repr_markdown_


if __name__ == "__main__":
    # ## See it work
    #
    # Three names that would lie on each other, and one that is far enough away.
    print([round(place, 1) for place in spread([10.0, 12.0, 13.0, 60.0], gap=13.0)])
    for net in ("gn", "ws-gn"):
        print(f"{net}: {look(net)['label']}, {look(net)['color']}")
    # Two columns, and the part of a figure of seven inches that is each one's.
    print(cuts([(0, 0.2, 3.1), (1, 3.5, 6.8)], end=7.0))
