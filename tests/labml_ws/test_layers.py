"""The layers against torch's own, run on filters that were standardized one by one with the bare equation, in float64."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import labml_ws
from labml_ws.layers import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Linear,
)

NAMES = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Linear",
]
ALL = pytest.mark.parametrize("name", NAMES)


def bare(filter: Tensor, eps: float) -> Tensor:
    mean = filter.sum() / filter.numel()
    var = ((filter - mean) ** 2).sum() / filter.numel()
    return (filter - mean) / (var + eps) ** 0.5


def standardized(layer: nn.Module, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Brute force: pick out the weights that feed one output channel, standardize them, put them back where they were."""
    result = torch.zeros_like(weight)
    if not getattr(layer, "transposed", False):
        for o in range(weight.shape[0]):
            result[o] = bare(weight[o], eps)
        return result
    inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    for group in range(layer.groups):
        rows = slice(group * inputs, (group + 1) * inputs)
        for o in range(outputs):
            result[rows, o] = bare(weight[rows, o], eps)
    return result


@dataclass(frozen=True)
class Case:
    name: str
    arguments: tuple[Any, ...]
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = "-".join(
            f"{key}={value}" for key, value in {**self.options, **self.call}.items()
        )
        return f"{self.name}-{options or 'plain'}" + (
            "-unbatched" * (len(self.shape) == self.dims + 1)
        )

    @property
    def dims(self) -> int:
        return int(self.name[-2]) if self.name != "Linear" else 0

    def layers(self, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module, Tensor]:
        """Ours, torch's with the same raw weights, and an input."""
        torch.manual_seed(0)
        ours = getattr(labml_ws, self.name)(*self.arguments, **self.options, dtype=dtype)
        options = {key: value for key, value in self.options.items() if key != "eps"}
        plain = getattr(nn, self.name)(*self.arguments, **options, dtype=dtype)
        with torch.no_grad():
            # Off centre, so that a forgotten mean shows.
            ours.weight.add_(0.1)
        plain.load_state_dict(ours.state_dict())
        return ours, plain, torch.randn(self.shape, dtype=dtype)


CASES = [
    Case("Conv1d", (4, 6, 3), (2, 4, 9)),
    Case("Conv1d", (4, 6, 3), (4, 9)),
    Case("Conv1d", (4, 6, 4), (2, 4, 9), {"padding": "same", "dilation": 2, "groups": 2}),
    Case(
        "Conv1d", (4, 6, 3), (2, 4, 9), {"padding": 2, "padding_mode": "circular", "stride": 2}
    ),
    Case("Conv2d", (4, 6, 3), (2, 4, 7, 8)),
    Case("Conv2d", (4, 6, 3), (4, 7, 8)),
    Case("Conv2d", (4, 6, 1), (2, 4, 7, 8)),
    Case(
        "Conv2d",
        (4, 6, (3, 2)),
        (2, 4, 7, 8),
        {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "bias": False},
    ),
    Case("Conv2d", (4, 6, 3), (2, 4, 7, 8), {"groups": 2, "eps": 0.1}),
    Case("Conv2d", (4, 8, 3), (2, 4, 7, 8), {"groups": 4, "padding": 1}),
    Case("Conv2d", (4, 6, 3), (2, 4, 7, 8), {"padding": "same"}),
    Case("Conv2d", (4, 6, 3), (2, 4, 7, 8), {"padding": "valid"}),
    Case("Conv2d", (4, 6, 3), (2, 4, 7, 8), {"padding": (1, 2), "padding_mode": "circular"}),
    Case("Conv2d", (4, 6, 3), (2, 4, 7, 8), {"padding": (1, 2), "padding_mode": "reflect"}),
    Case(
        "Conv2d",
        (4, 6, 3),
        (2, 4, 7, 8),
        {"padding": "same", "padding_mode": "replicate", "dilation": 2},
    ),
    Case("Conv3d", (4, 6, 3), (2, 4, 4, 5, 6)),
    Case("Conv3d", (4, 6, (1, 5, 3)), (4, 4, 5, 6), {"groups": 2, "padding": "same"}),
    Case(
        "Conv3d",
        (4, 6, 3),
        (1, 4, 4, 5, 6),
        {"padding": 1, "padding_mode": "replicate", "stride": 2},
    ),
    Case("ConvTranspose1d", (4, 6, 3), (2, 4, 5)),
    Case(
        "ConvTranspose1d", (4, 6, 3), (4, 5), {"groups": 2, "stride": 2}, {"output_size": [12]}
    ),
    Case("ConvTranspose2d", (4, 6, 3), (2, 4, 5, 4)),
    Case("ConvTranspose2d", (4, 6, 3), (4, 5, 4), {"groups": 2}),
    Case(
        "ConvTranspose2d",
        (6, 6, (3, 2)),
        (2, 6, 5, 4),
        {"groups": 3, "stride": 2, "padding": 1, "output_padding": 1, "eps": 0.1},
    ),
    Case(
        "ConvTranspose2d",
        (4, 6, 3),
        (2, 4, 5, 4),
        {"stride": 3, "dilation": 2, "bias": False},
        {"output_size": [18, 14]},
    ),
    Case("ConvTranspose3d", (4, 6, 2), (2, 4, 3, 2, 3)),
    Case(
        "ConvTranspose3d",
        (4, 6, (1, 2, 3)),
        (2, 4, 3, 2, 3),
        {"groups": 2, "stride": 2},
        {"output_size": [6, 5, 7]},
    ),
    Case("Linear", (5, 3), (2, 5)),
    Case("Linear", (5, 3), (2, 4, 5), {"bias": False, "eps": 0.1}),
    Case("Linear", (5, 3), (5,)),
]
PLAIN = {name: next(case for case in CASES if case.name == name) for name in NAMES}


# What they compute


@pytest.mark.parametrize("case", CASES, ids=str)
def test_output_and_gradients_are_torchs_on_standardized_filters(case: Case) -> None:
    ours, oracle, x = case.layers()
    raw = {
        key: value.detach().clone().requires_grad_() for key, value in ours.named_parameters()
    }
    x_ours, x_oracle = x.clone().requires_grad_(), x.clone().requires_grad_()

    y = ours(x_ours, **case.call)
    w_hat = standardized(oracle, raw["weight"], case.options.get("eps", 1e-5))
    expected = torch.func.functional_call(
        oracle, {**raw, "weight": w_hat}, (x_oracle,), case.call
    )
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)

    upstream = torch.randn_like(y)
    y.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(x_ours.grad, x_oracle.grad, rtol=1e-9, atol=1e-9)
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, raw[key].grad, rtol=1e-9, atol=1e-9)


@ALL
def test_w_hat_has_the_layout_of_weight_and_standardized_output_channels(name: str) -> None:
    layer, _, _ = PLAIN[name].layers()
    assert layer.w_hat.shape == layer.weight.shape
    torch.testing.assert_close(
        layer.w_hat, standardized(layer, layer.weight.detach()), rtol=1e-10, atol=1e-10
    )


def test_transposed_with_groups_standardizes_the_filter_of_each_output_channel() -> None:
    # An output channel's filter, seen from outside: what each input pixel contributes to that channel alone.
    layer = ConvTranspose2d(6, 4, 3, groups=2, bias=False, eps=0.0, dtype=torch.float64)
    response = torch.stack(
        [layer(one.reshape(1, 6, 1, 1)) for one in torch.eye(6).double()]
    )  # [C_in, 1, C_out, 3, 3]
    for o in range(4):
        inputs = slice(0, 3) if o < 2 else slice(3, 6)
        seen = response[inputs, 0, o]
        assert seen.mean().item() == pytest.approx(0, abs=1e-12)
        assert seen.square().mean().item() == pytest.approx(1)


@ALL
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_gradients_are_finite_differences_to_the_second_order(name: str, eps: float) -> None:
    small = {"Linear": (3, 2), "Conv1d": (2, 2, 2), "ConvTranspose1d": (2, 2, 2)}.get(
        name, (1, 2, 2)
    )
    layer = getattr(labml_ws, name)(*small, eps=eps, dtype=torch.float64)
    x = torch.randn(
        1, small[0], *[2] * PLAIN[name].dims, dtype=torch.float64, requires_grad=True
    )

    def call(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    # Weights of unit size: at the size of an initialization the finite differences are too coarse for the curvature.
    inputs = (x, torch.randn_like(layer.weight, requires_grad=True), layer.bias)
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_padding_mode_is_applied_and_not_only_accepted(mode: str) -> None:
    layer = Conv2d(2, 3, 3, padding=1, padding_mode=mode, dtype=torch.float64)
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    expected = F.conv2d(
        F.pad(x, (1, 1, 1, 1), mode=mode),
        standardized(layer, layer.weight.detach()),
        layer.bias,
    )
    torch.testing.assert_close(layer(x), expected)
    with_zeros = F.conv2d(x, layer.w_hat, layer.bias, padding=1)
    assert (layer(x) - with_zeros).abs().max() > 0.1


@ALL
def test_without_eps_the_size_of_the_raw_weight_does_not_matter(name: str) -> None:
    case = PLAIN[name]
    layer = getattr(labml_ws, name)(*case.arguments, eps=0.0, dtype=torch.float64)
    x = torch.randn(case.shape, dtype=torch.float64)
    before = layer(x)
    with torch.no_grad():
        layer.weight.mul_(37.0)
    torch.testing.assert_close(layer(x), before)


@ALL
def test_the_activations_are_not_standardized(name: str) -> None:
    layer, _, x = PLAIN[name].layers()
    shape = (1, -1, *[1] * PLAIN[name].dims) if name != "Linear" else (1, -1)
    bias = layer.bias.reshape(shape)
    torch.testing.assert_close(layer(3 * x) - bias, 3 * (layer(x) - bias))


@ALL
def test_the_raw_weight_is_the_parameter_and_a_forward_pass_does_not_touch_it(
    name: str,
) -> None:
    layer, plain, x = PLAIN[name].layers()
    layer(x).sum().backward()
    assert sorted(key for key, _ in layer.named_parameters()) == ["bias", "weight"]
    assert torch.equal(layer.weight, plain.weight)


# They are torch's layers


@ALL
def test_state_dict_travels_to_and_from_the_plain_layer(name: str) -> None:
    ours, plain, _ = PLAIN[name].layers()
    assert list(ours.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        plain.weight.normal_()
    assert ours.load_state_dict(plain.state_dict(), strict=True) == plain.load_state_dict(
        ours.state_dict(), strict=True
    )
    assert torch.equal(ours.weight, plain.weight)


@ALL
def test_is_an_instance_of_the_plain_layer_and_starts_from_the_same_weights(name: str) -> None:
    arguments = PLAIN[name].arguments
    torch.manual_seed(7)
    ours = getattr(labml_ws, name)(*arguments)
    torch.manual_seed(7)
    plain = getattr(nn, name)(*arguments)
    assert isinstance(ours, type(plain))
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), plain.parameters(), strict=True)
    )


@ALL
def test_repr_is_torchs_and_shows_eps(name: str) -> None:
    arguments = PLAIN[name].arguments
    plain = repr(getattr(nn, name)(*arguments))
    assert repr(getattr(labml_ws, name)(*arguments, eps=0.25)) == f"{plain[:-1]}, eps=0.25)"


FAN_IN_1: list[tuple[type[nn.Module], tuple[int, ...], dict[str, int]]] = [
    (Conv1d, (4, 4, 1), {"groups": 4}),
    (Conv2d, (4, 8, 1), {"groups": 4}),
    (Conv2d, (1, 8, 1), {}),
    (Conv3d, (4, 4, 1), {"groups": 4}),
    (ConvTranspose1d, (4, 4, 1), {"groups": 4}),
    (ConvTranspose2d, (4, 8, 1), {"groups": 4}),
    (ConvTranspose3d, (1, 8, 1), {}),
    (Linear, (1, 8), {}),
]


@pytest.mark.parametrize(("layer", "arguments", "options"), FAN_IN_1)
def test_fan_in_1_is_refused_at_construction(
    layer: type[nn.Module], arguments: tuple[int, ...], options: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=r"fan-in of 1.*use the plain torch layer"):
        layer(*arguments, **options)


def test_a_transposed_layer_with_one_output_per_group_has_a_fan_in_and_works() -> None:
    # Its stored rows have one weight each, its filters have three.
    layer = ConvTranspose1d(3, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(layer.w_hat[:, 0, 0], bare(layer.weight[:, 0, 0], 1e-5))


@ALL
@pytest.mark.parametrize("eps", [-1.0, math.nan])
def test_a_bad_eps_is_refused_at_construction(name: str, eps: float) -> None:
    with pytest.raises(ValueError, match="expected eps >= 0"):
        getattr(labml_ws, name)(*PLAIN[name].arguments, eps=eps)


@ALL
def test_eps_goes_by_keyword_so_that_no_positional_argument_of_torch_becomes_it(
    name: str,
) -> None:
    with pytest.raises(TypeError):
        getattr(labml_ws, name)(*PLAIN[name].arguments, *[1] * 12)


@ALL
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_device_and_dtype_arguments_reach_the_parameters(name: str, dtype: torch.dtype) -> None:
    layer = getattr(labml_ws, name)(*PLAIN[name].arguments, device="meta", dtype=dtype)
    assert {(p.device.type, p.dtype) for p in layer.parameters()} == {("meta", dtype)}
    assert layer(torch.empty(PLAIN[name].shape, device="meta", dtype=dtype)).dtype == dtype


@ALL
def test_an_input_with_the_wrong_channels_gets_torchs_error(name: str) -> None:
    layer, _, x = PLAIN[name].layers()
    with pytest.raises(RuntimeError):
        layer(torch.cat([x, x], dim=1))


# And they go where torch's layers go


def pickled(layer: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(layer))


def saved(layer: nn.Module) -> nn.Module:
    torch.save(layer, buffer := io.BytesIO())
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@ALL
@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled, saved])
def test_a_copy_computes_the_same_and_is_independent(
    name: str, duplicate: Callable[[nn.Module], nn.Module]
) -> None:
    layer, _, x = PLAIN[name].layers()
    layer.eps = 0.01
    double = duplicate(layer)
    assert torch.equal(double(x), layer(x))
    with torch.no_grad():
        layer.weight.normal_()
    assert not torch.equal(double(x), layer(x))


@ALL
def test_compiles_into_one_graph(name: str) -> None:
    torch.compiler.reset()
    layer, _, x = PLAIN[name].layers()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    y = compiled(x)
    torch.testing.assert_close(y, layer(x))
    y.square().sum().backward()
    gradient, layer.weight.grad = layer.weight.grad, None
    layer(x).square().sum().backward()
    torch.testing.assert_close(gradient, layer.weight.grad)


@ALL
def test_autocast_gives_bfloat16_outputs_and_float32_gradients(name: str) -> None:
    layer, _, x = PLAIN[name].layers(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().square().sum().backward()
    assert (y.dtype, layer.weight.grad.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(y.float(), layer(x), rtol=0.05, atol=0.05)


@ALL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_layers_stay_close_to_float64(name: str, dtype: torch.dtype) -> None:
    layer, _, x = PLAIN[name].layers()
    expected = layer(x)
    y = layer.to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    assert (y - expected).norm() < 2 * torch.finfo(dtype).eps * expected.norm()


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
@pytest.mark.parametrize("weight_too", [False, True])
def test_channels_last_input_gives_the_same_values(name: str, weight_too: bool) -> None:
    layer, _, x = PLAIN[name].layers()
    expected = layer(x)
    if weight_too:
        layer = layer.to(memory_format=torch.channels_last)
        assert not layer.weight.is_contiguous()
    y = layer(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(y, expected)
    y.sum().backward()
    assert layer.weight.grad is not None


@ALL
def test_an_empty_batch_gives_an_empty_output_and_a_zero_gradient(name: str) -> None:
    case = PLAIN[name]
    layer, _, _ = case.layers()
    y = layer(torch.zeros(0, *case.shape[1:], dtype=torch.float64))
    assert y.shape[0] == 0
    y.sum().backward()
    assert not layer.weight.grad.any()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_folding_w_hat_into_the_plain_layer_changes_nothing(case: Case) -> None:
    layer, plain, x = case.layers()
    with torch.no_grad():
        plain.weight.copy_(layer.w_hat)
    torch.testing.assert_close(
        plain(x, **case.call), layer(x, **case.call), rtol=1e-12, atol=1e-12
    )


def test_a_plain_convolution_becomes_ours_by_changing_its_class() -> None:
    layer = nn.Conv2d(3, 8, 3, dtype=torch.float64)
    weight, x = layer.weight, torch.randn(2, 3, 5, 5, dtype=torch.float64)
    layer.__class__, layer.eps = Conv2d, 1e-5
    assert layer.weight is weight
    torch.testing.assert_close(
        layer(x), F.conv2d(x, standardized(layer, weight.detach()), layer.bias)
    )


# What the page says


def test_page_says_that_the_output_is_about_sqrt_of_the_fan_in_times_the_input() -> None:
    torch.manual_seed(0)
    layer = Conv2d(16, 64, 3, bias=False)
    y = layer(torch.randn(8, 16, 16, 16))
    assert y.std().item() == pytest.approx(math.sqrt(16 * 9), rel=0.05)


def test_page_says_that_ten_layers_without_normalization_leave_half_precision() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 64, 16, 16)
    with torch.no_grad():
        for _ in range(10):
            x = F.relu(Conv2d(64, 64, 3, padding=1)(x))
    assert x.square().mean().sqrt() > torch.finfo(torch.float16).max
