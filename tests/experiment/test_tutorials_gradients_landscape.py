"""What the tutorials on gradients and on the landscape draw with."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import pytest

from labml_ws.experiment import plots


@pytest.mark.parametrize(
    ("limits", "base", "expected"),
    [
        ((0.2, 400.0), 10, ["0.3", "1", "3", "10", "30", "100", "300"]),
        ((0.2, 5.0), 2, ["0.25", "0.5", "1", "2", "4"]),
    ],
)
@pytest.mark.parametrize("name", ["xaxis", "yaxis"])
def test_a_logarithmic_axis_is_labelled_with_plain_numbers(
    limits: tuple[float, float], base: int, expected: list[str], name: str
) -> None:
    figure, axes = plt.subplots()
    axes.plot(limits, limits)
    axis = getattr(axes, name)
    plots.plain_log(axis, base)
    figure.draw_without_rendering()
    low, high = sorted(limits)
    shown = [
        label.get_text()
        for label in axis.get_ticklabels()
        if low <= float(label.get_text()) <= high
    ]
    plt.close(figure)
    assert axis.get_scale() == "log"
    assert shown == expected
    assert not axis.get_minorticklocs().size
