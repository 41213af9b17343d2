"""The VGG: its shapes, what it is made of, and the six ways in which the page says it is used."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn

from labml_ws import BatchChannelNorm, Conv2d
from labml_ws.experiment.vgg import BLOCKS, VGG, scaled

TINY = [[4, 4], [8, 8], [8, 8, 8], [16, 16, 16], [16, 16, 16]]

# The table of the page, with groups that divide a tiny network.
VARIANTS: dict[str, tuple[type[nn.Module], Callable[[int], nn.Module] | None]] = {
    "none": (nn.Conv2d, None),
    "bn": (nn.Conv2d, nn.BatchNorm2d),
    "gn": (nn.Conv2d, lambda c: nn.GroupNorm(4, c)),
    "ws-gn": (Conv2d, lambda c: nn.GroupNorm(4, c)),
    "bcn": (nn.Conv2d, lambda c: BatchChannelNorm(c, 4)),
    "ws-bcn": (Conv2d, lambda c: BatchChannelNorm(c, 4)),
}


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_of_the_page_gives_logits_and_a_gradient_for_every_parameter(
    variant: str,
) -> None:
    torch.manual_seed(0)
    conv, norm = VARIANTS[variant]
    model = VGG(TINY, conv, norm)
    logits = model(torch.randn(4, 3, 32, 32))
    assert logits.shape == (4, 10)
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_made_of_the_convolution_and_the_normalization_it_was_given(
    variant: str,
) -> None:
    conv, norm = VARIANTS[variant]
    model = VGG(TINY, conv, norm)
    assert [type(module) for module in convolutions(model)] == [conv] * 13
    kinds = [
        type(module)
        for module in model.features
        if not isinstance(module, conv | nn.ReLU | nn.MaxPool2d)
    ]
    assert kinds == ([type(norm(4))] * 13 if norm is not None else [])


def test_every_convolution_is_followed_by_its_normalization_and_then_by_the_relu() -> None:
    kinds = [type(module).__name__ for module in VGG(TINY, nn.Conv2d, nn.BatchNorm2d).features]
    block = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds == (2 * block + ["MaxPool2d"]) * 2 + (3 * block + ["MaxPool2d"]) * 3


@pytest.fixture(scope="module")
def full() -> VGG:
    return VGG()


def test_by_default_it_is_the_full_network_with_standardized_weights_and_bcn(full: VGG) -> None:
    assert [module.out_channels for module in convolutions(full)] == [
        width for block in BLOCKS for width in block
    ]
    assert {type(module) for module in convolutions(full)} == {Conv2d}
    groups = {
        module.channel_norm.groups
        for module in full.modules()
        if isinstance(module, BatchChannelNorm)
    }
    assert groups == {32}


def test_full_width_has_14_7_million_parameters(full: VGG) -> None:
    plain = VGG(conv=nn.Conv2d, norm=None)
    channels = [3, *(width for block in BLOCKS for width in block)]
    weights = sum(9 * a * b for a, b in pairwise(channels)) + 512 * 10 + 10
    # BCN: a pair per channel and a pair for each of 32 groups; no normalization: a bias per channel.
    assert (
        sum(p.numel() for p in full.parameters())
        == weights + 2 * sum(channels[1:]) + 13 * 2 * 32
    )
    assert sum(p.numel() for p in plain.parameters()) == weights + sum(channels[1:])
    assert round(weights / 1e6, 1) == 14.7


def test_convolutions_have_a_bias_only_where_no_normalization_follows() -> None:
    assert all(
        module.bias is None for module in convolutions(VGG(TINY, nn.Conv2d, nn.BatchNorm2d))
    )
    assert all(module.bias is not None for module in convolutions(VGG(TINY, nn.Conv2d, None)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_classifier_is_a_plain_linear_layer(variant: str) -> None:
    conv, norm = VARIANTS[variant]
    assert type(VGG(TINY, conv, norm).classifier) is nn.Linear


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (40, 50)])
def test_images_from_32x32_up_give_logits(size: tuple[int, int]) -> None:
    assert VGG(TINY, nn.Conv2d, None)(torch.randn(2, 3, *size)).shape == (2, 10)


def test_classes_and_input_channels_are_as_asked() -> None:
    model = VGG([[4], [8]], nn.Conv2d, None, classes=7, in_channels=1)
    assert model(torch.randn(2, 1, 8, 8)).shape == (2, 7)


def test_a_block_halves_height_and_width() -> None:
    assert VGG([[4], [8, 8]], nn.Conv2d, None).features(torch.randn(2, 3, 32, 24)).shape == (
        2,
        8,
        8,
        6,
    )


def test_weights_start_with_he_initialization_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    model = VGG([[64], [64]], nn.Conv2d, None)
    for module in convolutions(model):
        fan_in = module.weight[0].numel()
        assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.1)
        assert not module.bias.any()


def test_page_says_that_torchs_default_initialization_has_a_sixth_of_the_variance() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(512, 32, 3)
    default = convolution.weight.var().item()
    he = nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu").var().item()
    assert he == pytest.approx(4.3e-4, rel=0.02)
    assert he / default == pytest.approx(6, rel=0.02)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_seed_gives_the_same_network(variant: str) -> None:
    conv, norm = VARIANTS[variant]
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(VGG(TINY, conv, norm).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["features.0.weight"], states[2]["features.0.weight"])


@pytest.mark.parametrize("blocks", [[], [[]], [[4], []]])
def test_an_empty_network_or_block_is_refused(blocks: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one convolution in every block"):
        VGG(blocks)


def test_groups_that_do_not_divide_a_layer_are_refused() -> None:
    with pytest.raises(ValueError, match="got 48 channels and 32 groups"):
        VGG([[64], [48]])


def test_scaled_multiplies_every_number_of_channels() -> None:
    assert scaled(1) == [list(block) for block in BLOCKS]
    assert scaled(0.25) == [[16, 16], [32, 32], [64, 64, 64], [128, 128, 128], [128, 128, 128]]
    assert scaled(2, [[3], [5]]) == [[6], [10]]


def test_scaled_leaves_at_least_one_channel() -> None:
    assert scaled(1e-6) == [[1] * len(block) for block in BLOCKS]


@pytest.mark.parametrize("width", [0, -1.0, math.nan])
def test_a_width_that_is_not_above_zero_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match=f"width above 0, got {width}"):
        scaled(width)
