"""The picture of what is averaged says what labml_ws computes: which numbers share a mean, how many, and each number of the filter."""

import re
from collections.abc import Callable
from math import prod

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from labml_ws import BatchChannelNorm, weight_standardization
from tools import hero

# Written by their formulas, and not by the modules that the picture asks.
NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "bn": lambda x: F.batch_norm(x, None, None, training=True),
    "ln": lambda x: (x - x.mean((1, 2, 3), True)) / x.var((1, 2, 3), False, keepdim=True).sqrt(),
    "in": lambda x: (x - x.mean((2, 3), True)) / x.var((2, 3), False, keepdim=True).sqrt(),
    "gn": lambda x: F.group_norm(x, hero.GROUPS),
    "ws": lambda w: weight_standardization(w),
}  # fmt: skip


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def cells(html: str) -> list[list[float]]:
    """The rows of numbers of the second part."""
    body = html.partition("<tbody>")[2]
    rows = re.findall(r"<tr.*?</tr>", body)
    return [[number(n) for n in re.findall(r"<td>(.*?)</td>", row)] for row in rows]


@pytest.fixture(scope="module")
def masks() -> dict[str, list[Tensor]]:
    return hero.shares()


@pytest.fixture(scope="module")
def html() -> str:
    return hero.axes() + hero.steps()


@pytest.mark.parametrize("name", NORMS)
def test_an_output_changes_with_each_number_that_is_lit_and_with_no_other(
    masks: dict[str, list[Tensor]], name: str
) -> None:
    (mask,) = masks[name]
    x = torch.rand(mask.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    last = mask.nonzero()[-1].tolist()
    place = (*last[:2], 0, 0)
    before = NORMS[name](x)[place]
    assert mask[place]
    for at in torch.ones_like(mask).nonzero().tolist():
        changed = x.clone()
        changed[tuple(at)] += 0.5
        after = NORMS[name](changed)[place]
        assert ((after - before).abs() > 1e-6) == mask[tuple(at)], at


def test_bcn_lights_what_its_two_halves_average(masks: dict[str, list[Tensor]]) -> None:
    first, second = masks["bcn"]
    assert torch.equal(first, masks["bn"][0])
    assert torch.equal(second, masks["gn"][0])
    # Together they reach all images of the group.
    both = hero.share(
        BatchChannelNorm(hero.CHANNELS, hero.GROUPS, estimate=False).double(), *first.shape
    )
    assert torch.equal(both, second.any(0).expand_as(both))


def test_it_says_how_many_numbers_share_a_mean(html: str) -> None:
    b, c, n, g = hero.IMAGES, hero.CHANNELS, hero.POSITIONS, hero.GROUPS
    fan_in = prod(hero.weight().shape[1:])
    expected = {
        "ws": f"{fan_in}",
        "bn": f"{b * n}",
        "ln": f"{c * n}",
        "in": f"{n}",
        "gn": f"{c // g * n}",
        "bcn": f"{b * n}, {c // g * n}",
    }
    found = re.findall(
        r'value="(\w+)"[^>]*>.*?<span class="count">([^<]*)</span></label>', html
    )
    assert dict(found) == expected
    assert len(found) == len(expected)


def test_its_filter_is_the_one_that_it_names(html: str) -> None:
    scope = {"torch": torch}
    for line in hero.MADE.split("\n"):
        assert f"<code>{line}</code>" in html
    exec(hero.MADE, scope)
    assert torch.equal(scope["weight"], hero.weight())
    assert "The last filter of" in html


def test_each_number_of_the_filter_is_that_of_the_library(html: str) -> None:
    weight = hero.weight().double()
    raw, hat = weight[-1].flatten(), weight_standardization(weight)[-1].flatten()
    wanted = [raw, raw - raw.mean(), hat]
    for row, values in zip(cells(html), wanted, strict=True):
        *numbers, mean, std = row
        assert numbers == pytest.approx(values.tolist(), abs=0.00501)
        assert mean == pytest.approx(values.mean().item(), abs=0.00501)
        assert std == pytest.approx(values.std(correction=0).item(), abs=0.00501)
    assert cells(html)[2][-2:] == [0, 1]


def test_each_mark_stands_where_its_number_is(html: str) -> None:
    """What becomes of it step by step is measured in a browser."""
    raw = hero.weight()[-1].flatten()
    marks = re.findall(r'<g style="--w:([^"]+)">', html)
    assert [float(mark) for mark in marks] == pytest.approx(raw.tolist(), abs=6e-4)
    found = re.search(r"--mean-at:([\d.]+);--std-at:([\d.]+)", html)
    assert found
    mean, std = raw.mean().item(), raw.std(correction=0).item()
    assert [float(v) for v in found.groups()] == pytest.approx([mean, std], abs=6e-4)


def test_its_sentences_say_the_same_numbers(html: str) -> None:
    raw = hero.weight()[-1]
    words = html.rpartition('<div class="words">')[2]
    assert f"mean <i>μ</i> is {raw.mean():.2f}, the line" in words
    assert f"<i>σ</i> = {raw.std(correction=0):.2f} to either side" in words
    assert "they spread by 1.00." in words


def test_what_it_says_of_the_last_two_steps_is_so() -> None:
    """A number added to all of a filter leaves nothing behind, and a factor only what epsilon was."""
    weight = hero.weight().double()
    hat = weight_standardization(weight)
    assert (weight_standardization(weight + 3) - hat).abs().max() < 1e-12
    exact = weight_standardization(weight, 0)
    assert (weight_standardization(10 * weight, 0) - exact).abs().max() < 1e-12
    assert (weight_standardization(10 * weight) - hat).abs().max() > 1e-6
    # WS is a layer norm, of filters instead of images.
    assert torch.allclose(hat, F.layer_norm(weight, weight.shape[1:]))


def test_numbers_that_are_no_block_are_refused() -> None:
    mask = torch.ones(hero.IMAGES, hero.CHANNELS, hero.SIDE, hero.SIDE, dtype=torch.bool)
    mask[0, 2, 1, 1] = False
    with pytest.raises(ValueError, match="expected a block of numbers"):
        hero.Block().faces(mask)
    hidden = torch.zeros_like(mask)
    hidden[2, 1] = True
    with pytest.raises(ValueError, match="shows on all three sides"):
        hero.Block().faces(hidden)


@pytest.mark.parametrize(("value", "text"), [(-0.004, "0.00"), (-0.126, "−0.13"), (1, "1.00")])
def test_a_number_is_written_with_two_decimals(value: float, text: str) -> None:
    assert hero.show(value) == text


def test_the_picture_is_the_same_each_time() -> None:
    assert hero.axes() + hero.steps() == hero.axes() + hero.steps()
