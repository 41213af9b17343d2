"""Into a model and out again, in place: the same parameters, the same function, and nothing half done."""

import copy

import pytest
import torch
from torch import nn

from labml_ws import convert, layers
from labml_ws.layers import Conv2d


class Residual(nn.Module):
    """A block as in a ResNet: its shortcut is the last convolution, and a normalization follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.GroupNorm(2, 8))
        self.short = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.GroupNorm(2, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.main(x) + self.short(x))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), Residual(), nn.Flatten(), nn.Linear(8 * 36, 10)
    )


X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_every_convolution_is_standardized_and_the_classifier_is_not() -> None:
    model = network()
    assert convert.standardize(model) == ["0", "2.main.0", "2.short.0"]
    assert [type(m) for m in model.modules() if hasattr(m, "w_hat")] == [Conv2d] * 3
    assert type(model[-1]) is nn.Linear


def test_the_parameters_are_the_same_objects_and_the_optimizer_trains_them() -> None:
    model = network()
    before = dict(model.named_parameters())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    convert.standardize(model)
    after = dict(model.named_parameters())
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    weight = model[0].weight.detach().clone()
    model(X).square().sum().backward()
    optimizer.step()
    assert not torch.equal(weight, model[0].weight)


def test_a_converted_model_computes_what_a_model_of_our_layers_does() -> None:
    model = network().double()
    ours = nn.Sequential(Conv2d(3, 8, 3, eps=1e-3), *copy.deepcopy(model)[1:]).double()
    ours.load_state_dict(model.state_dict())
    convert.standardize(model, skip=["2.main.0", "2.short.0"], eps=1e-3)
    torch.testing.assert_close(model(X.double()), ours(X.double()), rtol=0, atol=0)


def test_folding_leaves_a_plain_model_that_computes_the_same() -> None:
    model, plain = network(), network()
    names = convert.standardize(model)
    expected = model(X)
    assert convert.fold(model) == names
    assert {type(m) for m in model.modules()} == {type(m) for m in plain.modules()}
    assert str(model) == str(plain)
    torch.testing.assert_close(model(X), expected)
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(plain(X), expected)


@pytest.mark.parametrize(("plain", "ours"), convert.STANDARDIZED.items())
def test_each_kind_of_layer_goes_in_and_comes_out(plain: type, ours: type) -> None:
    model = nn.Sequential(plain(4, 6, 3, groups=2))
    dims = model[0].weight.dim() - 2
    x = torch.randn(2, 4, *[6] * dims)
    convert.standardize(model)
    assert type(model[0]) is ours
    expected = model(x)
    convert.fold(model)
    assert type(model[0]) is plain
    torch.testing.assert_close(model(x), expected)


def test_a_standardized_linear_layer_is_folded_too() -> None:
    model = nn.Sequential(layers.Linear(8, 4))
    x = torch.randn(3, 8)
    expected = model(x)
    assert convert.fold(model) == ["0"]
    assert type(model[0]) is nn.Linear
    torch.testing.assert_close(model(x), expected)


def test_a_weight_that_two_layers_share_is_folded_once() -> None:
    first, second = Conv2d(4, 4, 3, eps=0.5), Conv2d(4, 4, 3, eps=0.5)
    second.weight = first.weight
    expected = first.w_hat.detach().clone()
    convert.fold(nn.Sequential(first, second))
    assert first.weight is second.weight
    torch.testing.assert_close(first.weight.detach(), expected, rtol=0, atol=0)


def test_a_filter_of_one_weight_is_named_and_nothing_has_changed() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1, groups=8))
    with pytest.raises(
        ValueError, match=r"^1: expected at least 2 weights per filter.*name it in skip$"
    ):
        convert.standardize(model)
    assert type(model[0]) is nn.Conv2d
    assert convert.standardize(model, skip=["1"]) == ["0"]


def test_the_fan_in_of_a_transposed_layer_is_that_of_an_output_channel() -> None:
    # Each output sees one weight of each of two inputs; by rows it would be one.
    assert convert.standardize(nn.Sequential(nn.ConvTranspose2d(2, 1, 1))) == ["0"]
    with pytest.raises(ValueError, match="fan-in of 1"):
        convert.standardize(nn.Sequential(nn.ConvTranspose2d(1, 2, 1)))


def test_a_name_that_is_no_convolution_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"expected names of convolutions in skip, got head: the model has 0, 2\.main",
    ):
        convert.standardize(network(), skip=["head"])


def test_a_subclass_is_left_alone() -> None:
    class Own(nn.Conv2d):
        pass

    assert convert.standardize(nn.Sequential(Own(3, 8, 3))) == []
