"""Draw what stands for the site elsewhere: its icon in a browser's tab, its card where a page is shared.

The sign is `overrides/.icons/labml/w-hat.svg`, the same that stands in the page's header. The card shows filters of the
recorded run, raw and standardized. Nothing here is random, and the pictures carry no date.
"""

import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Outline
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
SIGN = ROOT / "overrides" / ".icons" / "labml" / "w-hat.svg"
RUN = ROOT / "docs" / "runs" / "quarter-width" / "model.safetensors"
PAPER, INK, SOFT, ACCENT, DARK = "#fffefc", "#1f2328", "#5b6067", "#2a4fb8", "#8fabff"
QUIET = {"Software": None}  # otherwise matplotlib signs its pictures with its version


def sign() -> str:
    found = re.search(r' d="([^"]+)"', SIGN.read_text())
    if not found:
        raise SystemExit(f'{SIGN}: no path found. Draw the sign as one <path d="…">.')
    return found[1]


def outline(path: str) -> Outline:
    """A path of straight lines only: `M x y x y … Z`, as often as need be."""
    points, codes = [], []
    for part in path.split("Z")[:-1]:
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", part)]
        corners = list(zip(numbers[::2], numbers[1::2], strict=True))
        points += [*corners, corners[0]]
        codes += [Outline.MOVETO, *[Outline.LINETO] * (len(corners) - 1), Outline.CLOSEPOLY]
    return Outline(points, codes)


def icon_svg() -> str:
    """It follows the theme of the browser, which need not be that of the page."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><style>'
        f"rect{{fill:{ACCENT}}}path{{fill:#fff}}@media(prefers-color-scheme:dark){{rect{{fill:{DARK}}}path{{fill:#17191e}}}}"
        f'</style><rect width="32" height="32" rx="6"/><path transform="translate(1.6 2.2) scale(1.2)" d="{sign()}"/></svg>\n'
    )


def icon_png(target: Path, size: int) -> None:
    figure = plt.figure(figsize=(1, 1), dpi=size)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 32), ylim=(32, 0))
    axes.axis("off")
    box = FancyBboxPatch((6, 6), 20, 20, boxstyle="round,pad=6", facecolor=ACCENT, linewidth=0)
    shape = outline(sign())
    axes.add_patch(box)
    axes.add_patch(
        PathPatch(
            Outline(np.asarray(shape.vertices) * 1.2 + (1.6, 2.2), shape.codes),
            facecolor="white",
            linewidth=0,
        )
    )
    figure.savefig(target, transparent=True, metadata=QUIET)
    plt.close(figure)


def card(target: Path) -> None:
    filters = [
        row.astype(np.float64)
        for _, weight in sorted(load_file(RUN).items())
        if weight.ndim == 4 and weight[0].size > 500  # enough weights for a curve
        for row in weight.reshape(len(weight), -1)[:4]
    ]
    standardized = [(row - row.mean()) / np.sqrt(row.var() + 1e-5) for row in filters]
    figure = plt.figure(figsize=(12, 6.3), dpi=100, facecolor=PAPER)
    for left, rows, title, color in (
        (0.07, filters, "filters as trained", "#d9730d"),
        (0.55, standardized, "standardized", ACCENT),
    ):
        axes = figure.add_axes((left, 0.1, 0.38, 0.33))
        limit = 3.2 * max(row.std() for row in rows)
        for row in rows:
            density, edges = np.histogram(row, bins=40, range=(-limit, limit), density=True)
            smooth = np.convolve(density, [0.06, 0.24, 0.4, 0.24, 0.06], "same")
            axes.plot(
                (edges[1:] + edges[:-1]) / 2, smooth, color=color, alpha=0.5, linewidth=1.3
            )
        axes.set(yticks=[], facecolor="none", xlim=(-limit, limit))
        axes.tick_params(labelsize=13, colors=SOFT)
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.spines["bottom"].set_color(SOFT)
        axes.set_title(title, fontsize=20, color=SOFT, pad=10)
    figure.text(
        0.07,
        0.8,
        "Weight Standardization,\nannotated",
        fontsize=50,
        color=INK,
        va="center",
        linespacing=1.15,
    )
    figure.text(
        0.93,
        0.79,
        r"$\hat{W} = \dfrac{W - \mu}{\sqrt{\sigma^2 + \epsilon}}$",
        fontsize=50,
        color=ACCENT,
        va="center",
        ha="right",
    )
    figure.text(
        0.07,
        0.6,
        "the page, the math and the PyTorch code are one thing",
        fontsize=24,
        color=SOFT,
        va="center",
    )
    figure.savefig(target, metadata=QUIET)
    plt.close(figure)


def main(folder: str) -> None:
    matplotlib.use("agg")
    matplotlib.rcParams.update({"font.family": "STIXGeneral", "mathtext.fontset": "stix"})
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / "icon.svg").write_text(icon_svg())
    for size in (32, 180):
        icon_png(target / f"icon-{size}.png", size)
    card(target / "card.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
