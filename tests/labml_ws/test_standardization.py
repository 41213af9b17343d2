"""Weight standardization against the bare sums of the paper's equation, in float64: values, gradients, conventions."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws.layers import Conv2d
from labml_ws.standardization import standardize, weight_standardization

Form = Callable[..., Tensor]

BOTH = pytest.mark.parametrize("form", [weight_standardization, standardize])
SHAPES = pytest.mark.parametrize(
    "shape",
    [
        (3, 5),
        (4, 2),
        (4, 3, 5),
        (6, 2, 3, 3),
        (4, 3, 1, 1),
        (5, 1, 3, 3),
        (3, 2, 2, 3, 2),
        (1, 4, 3, 3),
    ],
    ids=[
        "linear",
        "pair",
        "conv1d",
        "conv2d",
        "pointwise",
        "depthwise",
        "conv3d",
        "one-filter",
    ],
)


def bare(weight: Tensor, eps: float) -> Tensor:
    """The equation, letter by letter: one filter after the other, sums and quotients only."""
    filters = []
    for filter in weight.double():
        count = filter.numel()
        mean = filter.sum() / count
        var = ((filter - mean) ** 2).sum() / count
        filters.append((filter - mean) / (var + eps) ** 0.5)
    return torch.stack(filters)


def weights(
    *shape: int,
    std: float = 0.05,
    mean: float = 0.02,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    noise = torch.randn(
        shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return (noise * std + mean).to(dtype)


def gradients(
    form: Form, weight: Tensor, upstream: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """The gradient for `upstream`, and the gradient of a non-linear function of that gradient."""
    leaf = weight.clone().requires_grad_()
    (first,) = torch.autograd.grad((form(leaf, eps) * upstream).sum(), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(3).sum(), leaf)
    return first.detach(), second


# What it computes


@BOTH
@SHAPES
def test_values_are_those_of_the_bare_equation(form: Form, shape: tuple[int, ...]) -> None:
    weight = weights(*shape)
    torch.testing.assert_close(form(weight, 1e-3), bare(weight, 1e-3), rtol=1e-12, atol=1e-12)


@BOTH
def test_values_are_those_of_group_norm_and_batch_norm_over_the_filters(form: Form) -> None:
    weight = weights(6, 3, 3, 3)
    by_group_norm = F.group_norm(weight[None], 6, eps=1e-5)[0]
    by_batch_norm = F.batch_norm(
        weight.reshape(1, 6, 27), None, None, training=True, eps=1e-5
    ).reshape_as(weight)
    torch.testing.assert_close(form(weight), by_group_norm, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(form(weight), by_batch_norm, rtol=1e-10, atol=1e-10)


@BOTH
def test_default_eps_is_1e_5(form: Form) -> None:
    weight = weights(4, 9, std=0.003)
    torch.testing.assert_close(form(weight), bare(weight, 1e-5), rtol=1e-12, atol=1e-12)


@BOTH
@SHAPES
def test_each_filter_has_mean_zero_and_variance_one_without_eps(
    form: Form, shape: tuple[int, ...]
) -> None:
    flat = form(weights(*shape), 0.0).flatten(1)
    torch.testing.assert_close(flat.sum(1), torch.zeros(shape[0]).double(), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        flat.square().sum(1), torch.full((shape[0],), math.prod(shape[1:])).double()
    )


@BOTH
def test_a_filter_is_standardized_without_regard_to_the_others(form: Form) -> None:
    weight, changed = weights(4, 3, 3, 3), weights(4, 3, 3, 3)
    changed[1:] *= 100
    assert torch.equal(form(weight)[0], form(changed)[0])


@BOTH
@pytest.mark.parametrize("count", [2, 9, 27, 576])
def test_the_variance_is_divided_by_the_fan_in(form: Form, count: int) -> None:
    weight = weights(3, count)
    unbiased = (weight - weight.mean(1, keepdim=True)) / weight.std(
        1, correction=1, keepdim=True
    )
    torch.testing.assert_close(
        form(weight, 0.0), unbiased * math.sqrt(count / (count - 1)), rtol=1e-10, atol=1e-12
    )


@BOTH
def test_eps_is_added_to_the_variance_inside_the_root(form: Form) -> None:
    # Mean zero and variance 3: inside, sqrt(3 + 1) = 2; outside it would be sqrt(3) + 1.
    weight = torch.tensor([[3**0.5, -(3**0.5)]], dtype=torch.float64)
    torch.testing.assert_close(form(weight, 1.0), weight / 2)


@BOTH
def test_it_multiplies_by_the_reciprocal_of_sigma_and_not_by_sigma(form: Form) -> None:
    weight = torch.tensor([[4.0, -4.0]], dtype=torch.float64)
    torch.testing.assert_close(form(weight, 0.0), weight / 4)


@BOTH
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-10, 10), seed=st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_without_eps_neither_scale_nor_shift_of_a_filter_matters(
    form: Form, scale: float, shift: float, seed: int
) -> None:
    weight = weights(3, 2, 3, 3, std=1.0, mean=0.0, seed=seed)
    torch.testing.assert_close(
        form(weight * scale + shift, 0.0), form(weight, 0.0), rtol=1e-7, atol=1e-7
    )


@BOTH
def test_a_weight_far_from_zero_loses_no_more_than_its_own_rounding(form: Form) -> None:
    # E[w^2] - E[w]^2 in float32 is noise here.
    weight = weights(8, 64, std=1.0, mean=1000.0, dtype=torch.float32)
    torch.testing.assert_close(form(weight).double(), bare(weight, 1e-5), rtol=0, atol=3e-4)


@BOTH
def test_the_argument_is_left_alone(form: Form) -> None:
    weight = weights(4, 3, 3, 3)
    form(weight)
    assert torch.equal(weight, weights(4, 3, 3, 3))


# Its gradient


@SHAPES
@pytest.mark.parametrize("eps", [1e-5, 1e-2])
def test_the_two_forms_agree_in_values_gradients_and_second_gradients(
    shape: tuple[int, ...], eps: float
) -> None:
    weight, upstream = weights(*shape, std=1.0), weights(*shape, std=1.0, seed=1)
    torch.testing.assert_close(
        standardize(weight, eps), weight_standardization(weight, eps), rtol=1e-11, atol=1e-11
    )
    for fused, stepwise in zip(
        gradients(standardize, weight, upstream, eps),
        gradients(weight_standardization, weight, upstream, eps),
        strict=True,
    ):
        torch.testing.assert_close(fused, stepwise, rtol=1e-8, atol=1e-9)


@BOTH
@SHAPES
def test_gradient_is_that_of_the_bare_equation(form: Form, shape: tuple[int, ...]) -> None:
    weight, upstream = weights(*shape, std=1.0), weights(*shape, std=1.0, seed=1)
    for ours, oracle in zip(
        gradients(form, weight, upstream, 0.01),
        gradients(bare, weight, upstream, 0.01),
        strict=True,
    ):
        torch.testing.assert_close(ours, oracle, rtol=1e-8, atol=1e-9)


@BOTH
@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 3), (2, 1, 2, 2), (1, 2, 1, 2, 2)])
def test_gradients_are_finite_differences_to_the_second_order(
    form: Form, shape: tuple[int, ...]
) -> None:
    weight = weights(*shape, std=1.0).requires_grad_()
    assert torch.autograd.gradcheck(form, (weight, 1e-2))
    assert torch.autograd.gradgradcheck(form, (weight, 1e-2))


@BOTH
@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
def test_gradient_is_the_closed_form_of_the_page(form: Form, eps: float) -> None:
    weight, g = weights(4, 27), weights(4, 27, std=1.0, seed=1)
    w_hat, s = bare(weight, eps), (weight.var(1, correction=0, keepdim=True) + eps).sqrt()
    closed = (g - g.mean(1, keepdim=True) - w_hat * (g * w_hat).mean(1, keepdim=True)) / s
    torch.testing.assert_close(
        gradients(form, weight, g, eps)[0], closed, rtol=1e-10, atol=1e-10
    )


@BOTH
def test_gradient_of_each_filter_sums_to_zero_for_every_eps(form: Form) -> None:
    weight, g = weights(4, 3, 3, 3), weights(4, 3, 3, 3, std=1.0, mean=0.5, seed=1)
    for eps in (0.0, 1e-5, 0.1):
        total = gradients(form, weight, g, eps)[0].flatten(1).sum(1)
        torch.testing.assert_close(total, torch.zeros(4).double(), rtol=0, atol=1e-10)


@BOTH
def test_gradient_is_orthogonal_to_the_filter_at_eps_zero_only(form: Form) -> None:
    weight, g = weights(4, 27), weights(4, 27, std=1.0, seed=1)
    along = [
        (gradients(form, weight, g, eps)[0] * weight).sum(1).abs().max().item()
        for eps in (0.0, 0.1)
    ]
    assert along[0] < 1e-11 < 1e-3 < along[1]


@BOTH
def test_gradient_grows_as_the_weight_shrinks_until_eps_stops_it(form: Form) -> None:
    # What weight decay does: the function stays, the effective step grows with 1 / sigma, and levels off near sigma^2 = eps.
    weight, g = weights(1, 64, std=1.0), weights(1, 64, std=1.0, seed=1)
    lengths = [
        gradients(form, weight * scale, g, 1e-5)[0].norm().item()
        for scale in (1.0, 0.1, 1e-4, 1e-5)
    ]
    assert lengths[1] / lengths[0] == pytest.approx(10, rel=0.01)
    assert lengths[3] / lengths[2] == pytest.approx(1, rel=0.01)


@BOTH
def test_a_constant_filter_gives_zeros_and_a_finite_gradient(form: Form) -> None:
    weight = torch.full((2, 3, 3, 3), 0.25, dtype=torch.float64)
    upstream = weights(2, 3, 3, 3, std=1.0, seed=1)
    assert torch.equal(form(weight), torch.zeros_like(weight))
    centred = upstream - upstream.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(gradients(form, weight, upstream, 1e-5)[0], centred / 1e-5**0.5)


# What is refused

REFUSED = [
    ((4, 1, 1, 1), r"\[4, 1, 1, 1\].*fan-in of 1.*plain torch layer"),
    ((4, 1), r"\[4, 1\].*fan-in of 1.*plain torch layer"),
    ((4,), r"\[C_out, C_in / groups, \*kernel\].*got \[4\].*not standardized"),
    ((), r"got \[\].*not standardized"),
]


@BOTH
@pytest.mark.parametrize(
    ("shape", "message"), REFUSED, ids=["depthwise-1x1", "linear-of-1", "bias", "scalar"]
)
def test_a_weight_without_a_spread_is_refused_by_its_shape(
    form: Form, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        form(torch.zeros(shape))


@BOTH
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_an_integer_weight_is_refused_by_its_dtype(form: Form, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"got {dtype}: .*weight\.float\(\)"):
        form(torch.ones(4, 3, dtype=dtype))


@BOTH
@pytest.mark.parametrize("eps", [-1e-5, math.nan])
def test_an_eps_that_is_negative_or_not_a_number_is_refused(form: Form, eps: float) -> None:
    with pytest.raises(ValueError, match=f"expected eps >= 0, got {eps}"):
        form(torch.ones(4, 3), eps)


# Dtypes, memory formats, compilers


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("eps", [1e-5, 1e-10])
def test_half_precision_statistics_are_taken_in_float32(
    form: Form, dtype: torch.dtype, eps: float
) -> None:
    # With a standard deviation of 1e-4 the variance is below what fp16 can hold, and so is this small an eps.
    weight = weights(8, 512, 3, 3, std=1e-4, mean=1e-5, dtype=dtype)
    ours, oracle = form(weight, eps), bare(weight, eps)
    assert ours.dtype == dtype
    # Rounded once, at the end.
    torch.testing.assert_close(ours.double(), oracle, rtol=torch.finfo(dtype).eps, atol=1e-6)


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gradients_are_the_float64_ones_rounded(
    form: Form, dtype: torch.dtype
) -> None:
    weight, g = (
        weights(4, 64, 3, 3, std=0.02, dtype=dtype),
        weights(4, 64, 3, 3, std=0.1, seed=1, dtype=dtype),
    )
    leaf = weight.clone().requires_grad_()
    form(leaf).backward(g)
    oracle, _ = gradients(bare, weight.double(), g.double(), 1e-5)
    assert leaf.grad is not None
    torch.testing.assert_close(
        leaf.grad.double(), oracle, rtol=0.01, atol=0.01 * oracle.abs().max().item()
    )


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shape_and_dtype_are_kept(form: Form, dtype: torch.dtype) -> None:
    w_hat = form(weights(4, 3, 3, 3, dtype=dtype))
    assert (w_hat.dtype, w_hat.shape) == (dtype, (4, 3, 3, 3))


@BOTH
def test_float64_is_not_rounded_to_float32(form: Form) -> None:
    weight = weights(4, 27)
    assert (form(weight) - bare(weight, 1e-5)).abs().max() < 1e-13


@BOTH
def test_channels_last_and_sliced_weights_give_the_same_values_and_gradients(
    form: Form,
) -> None:
    weight, upstream = weights(6, 4, 3, 3), weights(6, 4, 3, 3, std=1.0, seed=1)
    expected = form(weight), gradients(form, weight, upstream, 1e-5)[0]
    layouts = {
        "channels_last": weight.contiguous(memory_format=torch.channels_last),
        "transposed": weight.transpose(0, 3).contiguous().transpose(0, 3),
        "strided": weight.repeat_interleave(2, dim=3)[..., ::2],
    }
    for layout in layouts.values():
        assert not layout.is_contiguous()
        torch.testing.assert_close(form(layout), expected[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            gradients(form, layout, upstream, 1e-5)[0], expected[1], rtol=1e-9, atol=1e-9
        )


@BOTH
def test_compiles_into_one_graph_with_the_same_values_and_gradients(form: Form) -> None:
    torch.compiler.reset()
    weight, upstream = weights(6, 4, 3, 3), weights(6, 4, 3, 3, std=1.0, seed=1)
    leaf = weight.clone().requires_grad_()
    w_hat = torch.compile(form, fullgraph=True, backend="aot_eager")(leaf, 1e-3)
    torch.testing.assert_close(w_hat, bare(weight, 1e-3))
    w_hat.backward(upstream)
    torch.testing.assert_close(leaf.grad, gradients(bare, weight, upstream, 1e-3)[0])


@BOTH
def test_autocast_does_not_lower_the_precision_of_the_statistics(form: Form) -> None:
    weight = weights(8, 64, 3, 3, std=1e-3, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        w_hat = form(weight)
    torch.testing.assert_close(w_hat.double(), bare(weight, 1e-5), rtol=1e-5, atol=1e-6)


@BOTH
def test_works_where_a_weight_has_no_storage(form: Form) -> None:
    assert form(torch.empty(4, 3, 3, 3, device="meta")).shape == (4, 3, 3, 3)


@BOTH
def test_works_under_vmap_for_an_ensemble_of_weights(form: Form) -> None:
    ensemble = weights(3, 4, 2, 3, 3)
    expected = torch.stack([bare(weight, 1e-5) for weight in ensemble])
    torch.testing.assert_close(torch.func.vmap(form)(ensemble), expected, rtol=1e-9, atol=1e-9)


# The numbers that the page quotes


@pytest.mark.parametrize(
    ("fan_in", "percent", "digits"), [(9, 6.1, 1), (27, 1.9, 1), (576, 0.09, 2)]
)
def test_page_quotes_how_much_larger_sigma_is_over_one_less(
    fan_in: int, percent: float, digits: int
) -> None:
    row = weights(fan_in)
    larger = 100 * (row.std(correction=1) / row.std(correction=0) - 1).item()
    assert round(larger, digits) == percent


@pytest.mark.filterwarnings("ignore:var_mean.*degrees of freedom")
def test_page_says_that_one_less_gives_nan_at_a_fan_in_of_1() -> None:
    assert torch.var_mean(torch.ones(4, 1), dim=1, correction=1)[0].isnan().all()


def test_page_quotes_the_root_mean_square_at_the_default_initialization() -> None:
    torch.manual_seed(0)
    layer = Conv2d(512, 64, 3)
    assert layer.weight[0].numel() == 4608
    assert f"{layer.weight.var(correction=0).item():.0e}" == "7e-05"
    assert layer.w_hat.square().mean().sqrt().item() == pytest.approx(0.94, abs=0.005)


def test_page_says_that_eps_outside_the_root_sends_back_nan_for_a_constant_filter() -> None:
    weight = torch.full((1, 9), 0.25, requires_grad=True)
    ((weight - weight.mean(1)) / (weight.var(1, correction=0).sqrt() + 1e-5)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.isnan().any()


def test_page_says_that_layer_norm_is_silently_dead_at_a_fan_in_of_1() -> None:
    weight = torch.randn(4, 1, 1, 1, requires_grad=True)
    output = F.layer_norm(weight, (1, 1, 1))
    output.sum().backward()
    assert not output.any()
    assert not nn.utils.parameters_to_vector([weight.grad]).any()
