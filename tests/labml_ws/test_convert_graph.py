"""What follows a convolution, seen in the graph of the model: directly, through steps that keep its scale, or not."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws import BatchChannelNorm, ChannelNorm, EstimatedBatchNorm, convert
from labml_ws.follows import Graph

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


class Between(nn.Module):
    """A convolution, a step, and a normalization; or something else in their places."""

    def __init__(self, step, norm=None) -> None:
        super().__init__()
        self.conv, self.step, self.norm = (
            nn.Conv2d(4, 8, 3, padding=1),
            step,
            norm or nn.GroupNorm(2, 8),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.step(self.conv(x)))


def why_not(model: nn.Module, x: object = X, **options: bool) -> str:
    return Graph(model, x, **options).why_not(model.conv)


@pytest.mark.parametrize(
    "step",
    [
        lambda x: x,
        lambda x: F.pad(x, (1, 1, 1, 1)),
        lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: x.view(2, 2, 4, 8, 8).transpose(1, 2).reshape(2, 8, 8, 8),
        lambda x: F.channel_shuffle(x, 2),
        lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
        lambda x: torch.cat([x[..., ::2], x[..., 1::2]], -1),
        lambda x: F.dropout(x, 0.5).contiguous(),
        lambda x: x.mean((2, 3)),
        lambda x: x.flatten(2),
        lambda x: x.double().float(),
    ],
)
def test_a_normalization_may_come_through_steps_that_keep_the_scale(step) -> None:
    assert why_not(Between(step)) == ""


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (F.relu, "relu"),
        (lambda x: x.relu_(), "relu"),
        (lambda x: (x.relu_(), x)[1], "relu"),
        (torch.sigmoid, "sigmoid"),
        (lambda x: 2 * x, "mul"),
        (lambda x: torch.cat([x, x.tanh()], 2), "tanh"),
        (lambda x: x + x.flip(2), "add"),
        (nn.Conv2d(8, 8, 1), "conv2d"),
    ],
)
def test_every_way_must_reach_one(step, reason: str) -> None:
    assert why_not(Between(step)).startswith(f"{reason} follows")


class Own(nn.GroupNorm):
    """A normalization whose arithmetic torch has no single operation for."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.square().mean((1, 2, 3), keepdim=True).sqrt()


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(8),
        nn.InstanceNorm2d(8),
        nn.LayerNorm([8, 8, 8]),
        nn.RMSNorm([8, 8, 8]),
        EstimatedBatchNorm(8),
        ChannelNorm(8, 2),
        BatchChannelNorm(8, 2),
        BatchChannelNorm(8, 2, estimate=False),
        Own(2, 8),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_each_kind_of_normalization_is_known(norm: nn.Module, training: bool) -> None:
    model = Between(nn.Identity(), norm).train(training)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert why_not(model) == ""
    assert all(module.training is training for module in model.modules())
    torch.testing.assert_close(dict(model.state_dict()), state, rtol=0, atol=0)


def test_the_output_of_a_model_is_not_normalized() -> None:
    assert why_not(Between(nn.Identity(), nn.Identity())) == "it ends in an output of the model"


class Called(nn.Module):
    def __init__(self, forward) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4)
        self.how = forward

    def forward(self, *args: Tensor, **kwargs: Tensor) -> object:
        return self.how(self, *args, **kwargs)


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: m.norm(m.conv(m.norm(m.conv(x)))), ""),
        (lambda m, x: m.norm(m.conv(m.conv(x))), "conv2d follows"),
        (lambda m, x: (m.norm(m.conv(x)), m.conv(x)), "it ends in an output of the model"),
        (lambda m, x: x, "the example does not reach it"),
        # What it computes is the scale of a normalization, and not what is normalized.
        (lambda m, x: F.layer_norm(x, [8], m.conv(x)[0, 0, 0]), "layer_norm follows"),
        # Its size is looked at, and nothing else.
        (
            lambda m, x: (m.norm(m.conv(x)), x.new_zeros(m.conv(x).shape)),
            "nothing uses its output",
        ),
    ],
)
def test_each_use_of_a_layer_counts(forward, reason: str) -> None:
    assert why_not(Called(forward)).startswith(reason)
    assert bool(why_not(Called(forward))) is bool(reason)


def test_a_sum_passes_on_demand() -> None:
    model = Called(lambda m, x: m.norm(x + m.conv(x)))
    assert "through_add=True" in why_not(model)
    assert why_not(model, through_add=True) == ""
    assert "conv" in convert.standardize(model, X, through_add=True)


def test_a_sum_in_place_is_one_too() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.conv(x)
        y += x
        return m.norm(y)

    assert why_not(Called(forward)).startswith("add follows")
    assert why_not(Called(forward), through_add=True) == ""


def test_many_sums_in_a_row_are_walked_once() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        x = m.conv(x)
        for _ in range(200):
            x = x + x.flip(2)
        return m.norm(x)

    assert why_not(Called(forward), through_add=True) == ""


@pytest.mark.parametrize("example", [X, (X,), {"x": X}])
def test_an_example_is_a_tensor_or_arguments(example: object) -> None:
    assert why_not(Called(lambda m, x: m.norm(m.conv(x))), example) == ""


def test_a_model_that_cannot_be_traced_is_refused_and_stays_as_it_was() -> None:
    model = Called(lambda m, x: m.norm(m.conv(x)) if x.sum() > 0 else x)
    with pytest.raises(
        ValueError,
        match=r"torch\.export cannot trace .* leave out the example, and name .* in only$",
    ):
        convert.standardize(model, X)
    assert model.training
    assert type(model.conv) is nn.Conv2d
    assert convert.standardize(model, only="conv") == ["conv"]
    with pytest.raises(ValueError, match=r"cannot trace"):
        convert.fold(model, X)
    assert hasattr(model.conv, "w_hat")


def test_a_layer_that_is_asked_for_is_converted_and_the_report_says_what_follows_it() -> None:
    model = Between(F.relu)
    report = convert.standardize(model, X, only="conv")
    assert report == ["conv"]
    assert "relu follows" in report.rows[0].why
