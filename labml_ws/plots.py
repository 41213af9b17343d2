r"""
# One look for all figures

What the figures of the tutorials share: colors that mean the same everywhere, and names at the lines rather than in a
legend. Nothing else here needs matplotlib; the style itself is a file, for anyone's `plt.style.use("labml_ws.house")`.

A method's **color** is its normalization. The line is **solid with WS** and dashed without, so that the two differ
without color as well.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

COLORS = {
    "bn": "#2f86d1",
    "gn": "#d9730d",
    "bcn": "#12946a",
    "ln": "#b5569a",
    "none": "#8a8d91",
}
NAMES = {"bn": "BN", "gn": "GN", "bcn": "BCN", "ln": "LN", "none": "no norm"}


def look(net: str) -> dict[str, Any]:
    """
    ## How a method is drawn

    * `net`: a [run's][labml_ws.recorded.Run.net], `gn` or `ws-gn`
    * returns the keywords of `plot`: color, line style and label
    """
    standardized, norm = net.startswith("ws-"), net.removeprefix("ws-")
    if norm not in COLORS:
        raise ValueError(f"expected one of {', '.join(COLORS)}, or one with ws-, got {net}")
    return {
        "color": COLORS[norm],
        "linestyle": "-" if standardized else (0, (4, 1.6)),
        "label": f"WS + {NAMES[norm]}" if standardized else NAMES[norm],
    }


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


def label_ends(axis: "Axes", gap: float = 13.0, size: float = 9.5) -> None:
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
            x, y = (float(values[-1]) for values in (line.get_xdata(), line.get_ydata()))  # type: ignore[arg-type, index]
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


if __name__ == "__main__":
    # ## See it work
    #
    # Three names that would lie on each other, and one that is far enough away.
    print(spread([10.0, 12.0, 13.0, 60.0], gap=13.0))
    for net in ("gn", "ws-gn"):
        print(f"{net}: {look(net)['label']}, {look(net)['color']}")
