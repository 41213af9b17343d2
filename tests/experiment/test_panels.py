"""A figure is cut between its panels: each part holds its own panel, and together they are the figure."""

import re

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import pytest
from IPython.core.pylabtools import print_figure
from matplotlib.figure import Figure

from labml_ws.experiment import plots

PANEL = re.compile(
    r'id="panel_([\d.]+)_([\d.]+)_([\d.]+)_([\d.]+)">\s*<g id="patch_\d+">\s*<path d="([^"]+)"'
)


def drawn(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, str]:
    with plt.style.context("labml_ws.experiment.house"):
        figure, axes = plt.subplots(
            rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False
        )
        for axis in axes.flat:
            axis.plot([1, 2], [3, 4], label="a name at its end")
            axis.set(title="title", xlabel="across", ylabel="up")
            plots.label_ends(axis)
        plots.panels(figure)
        return figure, print_figure(figure, "svg")


@pytest.mark.parametrize(
    ("rows", "columns", "size"), [(1, 2, (7.2, 3)), (2, 2, (4.8, 5)), (4, 3, (7.2, 9))]
)
def test_the_parts_are_the_figure_and_each_holds_its_panel(
    rows: int, columns: int, size: tuple[float, float]
) -> None:
    figure, svg = drawn(rows, columns, size)
    plt.close(figure)
    width, height = (
        float(v) for v in re.findall(r'width="([\d.]+)pt" height="([\d.]+)pt', svg)[0]
    )
    parts = [[float(v) for v in m.groups()[:4]] for m in PANEL.finditer(svg)]
    assert len(parts) == rows * columns
    assert sum(w * h for _, _, w, h in parts) == pytest.approx(width * height, rel=0.01)
    for (x, y, w, h), m in zip(parts, PANEL.finditer(svg), strict=True):
        points = [float(v) for v in re.findall(r"[\d.]+", m[5])]
        assert x < min(points[::2])
        assert max(points[::2]) < x + w
        assert y < min(points[1::2])
        assert max(points[1::2]) < y + h


def test_each_panel_has_the_numbers_of_its_axes() -> None:
    figure, _ = drawn(2, 2, (7.2, 5))
    for axis in figure.axes:
        for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
            assert any(label.get_visible() and label.get_text() for label in labels)
    plt.close(figure)


@pytest.mark.parametrize("words", ["suptitle", "supxlabel", "supylabel"])
def test_words_that_belong_to_no_panel_are_refused(words: str) -> None:
    figure, _ = plt.subplots(1, 2)
    getattr(figure, words)("of both")
    with pytest.raises(ValueError, match="all words of a figure in its panels"):
        plots.panels(figure)
    plt.close(figure)
