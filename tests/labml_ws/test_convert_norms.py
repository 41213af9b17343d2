"""Batch norms beside converted layers: replaced, folded away, or left with a word on their statistics."""

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import update_bn

from labml_ws import BatchChannelNorm, EstimatedBatchNorm, convert
from labml_ws.batch_norms import absorb, replacement

X = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def block(channels: int = 8, norm: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(4, channels, 3), norm or nn.BatchNorm2d(channels), nn.ReLU()),
        nn.Conv2d(channels, channels, 3, bias=False),
        nn.BatchNorm2d(channels),
    )


def trained(model: nn.Module, x: Tensor = X) -> nn.Module:
    """With scales, shifts and statistics that are not those of a new layer."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 1.0 if name.endswith("weight") else 0.0, 0.5)
    with torch.no_grad():
        for _ in range(30):
            model(x)
    return model.eval()


# ## Statistics of before


def test_statistics_of_before_are_warned_of_and_the_named_cure_helps() -> None:
    model = trained(block()).train()
    with pytest.warns(UserWarning, match=r"2 batch norms \(1, .*update_bn"):
        report = convert.standardize(model, X)
    assert "update_bn" in str(report)
    model.eval()
    by_batch = copy.deepcopy(model).train()(X)
    assert (model(X) - by_batch).abs().max() > 1
    update_bn([X], model)
    # But for the n - 1 of torch's running variance.
    torch.testing.assert_close(model.eval()(X), by_batch, rtol=0.02, atol=0.02)


def test_a_new_model_is_not_warned_of_unless_it_evaluates() -> None:
    assert "update_bn" not in str(convert.standardize(block(), X))
    with pytest.warns(UserWarning, match="update_bn"):
        convert.standardize(block().eval(), X)


def test_there_is_no_warning_where_nothing_changed_and_nothing_has_statistics() -> None:
    assert convert.standardize(trained(block()), X, skip="") == []
    assert convert.standardize(nn.Sequential(nn.Conv2d(4, 8, 3), nn.GroupNorm(2, 8)).eval(), X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert.standardize(trained(block()), X, norm="gn")


# ## Another normalization


def test_a_batch_channel_norm_goes_on_with_what_the_batch_norm_had() -> None:
    model = trained(block())
    old, expected = model[1], model[1](X[:, :1].expand(-1, 8, -1, -1))
    report = convert.standardize(model, X, norm="bcn", skip=["0", "3"])
    assert report == ["1", "4"]
    assert [row.why for row in report.rows if row.decision == "replaced"] == [
        "BatchChannelNorm, 4 groups"
    ] * 2
    new = model[1]
    assert type(new) is BatchChannelNorm
    assert type(new.batch_norm) is EstimatedBatchNorm
    assert new.batch_norm.weight is old.weight
    assert new.batch_norm.bias is old.bias
    assert not new.training
    torch.testing.assert_close(
        new.batch_norm(X[:, :1].expand(-1, 8, -1, -1)), expected, rtol=1e-6, atol=1e-6
    )
    assert new.batch_norm.num_batches_tracked == 30


def test_a_group_norm_takes_the_scale_and_the_shift() -> None:
    model = trained(block())
    old = model[1]
    convert.standardize(model, X, norm="gn")
    assert type(model[1]) is nn.GroupNorm
    assert model[1].weight is old.weight
    assert model[1].eps == old.eps
    assert model(X).isfinite().all()


@pytest.mark.parametrize("norm", ["bcn", "gn"])
@pytest.mark.parametrize(
    ("channels", "most", "groups"),
    [(64, 32, 32), (48, 32, 24), (16, 32, 8), (7, 32, 1), (1, 32, 1), (64, 5, 4)],
)
def test_the_groups_divide_the_channels_and_have_two_each(
    norm, channels: int, most: int, groups: int
) -> None:
    new = replacement(nn.BatchNorm2d(channels), norm, most)
    assert (new.num_groups if norm == "gn" else new.channel_norm.groups) == groups
    assert new(torch.randn(2, channels, 4, 4)).shape == (2, channels, 4, 4)


@pytest.mark.parametrize("norm", ["bcn", "gn"])
@pytest.mark.parametrize(
    "old",
    [
        nn.BatchNorm2d(8, affine=False),
        nn.BatchNorm2d(8, track_running_stats=False),
        nn.BatchNorm2d(8, momentum=0.3, eps=1e-2),
        nn.BatchNorm2d(8, dtype=torch.float64),
    ],
)
def test_batch_norms_with_less_or_another_dtype_are_replaced_too(norm, old: nn.Module) -> None:
    new = replacement(old, norm)
    x = X[:, :1].expand(-1, 8, -1, -1).to(old.weight.dtype if old.affine else torch.float32)
    assert new(x).dtype == x.dtype


def test_a_subclass_and_what_is_skipped_stay() -> None:
    class Own(nn.BatchNorm2d):
        pass

    model = block(norm=Own(8))
    with pytest.warns(
        UserWarning, match=r"1 of 2 batch norms stay \(1: Own, \.\.\.\): a subclass"
    ):
        report = convert.standardize(model, X, norm="gn")
    assert "subclass" in report.left["1"]
    assert "1 of 2 batch norms stay" in str(report)
    assert report == ["0", "3", "4"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = convert.standardize(model := block(), X, norm="gn", skip="4")
        convert.standardize(block(norm=Own(8)), X, norm="gn", skip="1")
    assert report.left == {"4": "named in skip"}
    assert type(model[4]) is nn.BatchNorm2d


def test_norms_that_stay_for_a_hook_are_warned_of_with_each_reason() -> None:
    model = block()
    model[1].register_forward_hook(lambda *_: None)
    model[4].__class__ = type("Own", (nn.BatchNorm2d,), {})
    with pytest.warns(UserWarning, match="2 of 2 batch norms stay.* a hook .*; a subclass"):
        assert convert.standardize(model, X, norm="bcn") == ["0", "3"]


def test_a_norm_under_two_names_is_replaced_under_both() -> None:
    shared = nn.BatchNorm2d(4)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)})
    assert convert.standardize(model, norm="gn") == ["a"]
    assert model["a"] is model["b"][0]
    assert type(model["a"]) is nn.GroupNorm


# ## Folded away


@pytest.mark.parametrize("norm", [None, "bcn"])
@pytest.mark.parametrize("converted", [True, False])
@pytest.mark.filterwarnings("ignore:.*hold statistics of what")
def test_batch_norms_go_into_the_convolutions_before_them(norm, converted: bool) -> None:
    model = block()
    if converted or norm:
        convert.standardize(model, X, norm=norm, skip=() if converted else ["0", "3"])
    trained(model)
    expected = model(X)
    report = convert.fold(model, X)
    assert sorted(report) == ["0", "1", "3", "4"]
    kinds = {type(m) for m in model.modules()}
    assert not any(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in kinds)
    assert EstimatedBatchNorm not in kinds
    assert type(model[1]).__name__ == ("ChannelNorm" if norm else "Identity")
    torch.testing.assert_close(model(X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(4, 6, 3),
        nn.Conv2d(4, 6, 3, groups=2, padding_mode="circular", padding=1),
        nn.Conv3d(4, 6, 3, bias=False),
        nn.ConvTranspose1d(4, 6, 3),
        nn.ConvTranspose2d(4, 6, 3, stride=2),
        nn.ConvTranspose3d(4, 6, 3, bias=False),
    ],
)
def test_each_kind_of_convolution_takes_its_norm_in(layer: nn.Module) -> None:
    dims = layer.weight.dim() - 2
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dims - 1](6)
    x = torch.randn(4, 4, *[5] * dims)
    model = nn.Sequential(layer, norm)
    convert.standardize(model, x)
    trained(model, x)
    expected = model(x)
    assert convert.fold(model, x) == ["0", "1"]
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)


class Forked(nn.Module):
    """A convolution and a norm, used in one way or another."""

    def __init__(self, forward) -> None:
        super().__init__()
        self.conv, self.norm, self.how = (
            nn.Conv2d(4, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            forward,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self, x)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.norm(m.conv(x)) + m.conv(x),
        lambda m, x: m.norm(m.conv(m.norm(m.conv(x)))),
        lambda m, x: m.norm(m.conv(x)) + m.norm(x),
        lambda m, x: (lambda y: m.norm(y) + y)(m.conv(x)),
        lambda m, x: m.norm(m.conv(x).relu()),
        lambda m, x: m.norm(nn.functional.pad(m.conv(x), (1, 1))),
    ],
)
def test_a_norm_that_is_not_alone_behind_one_convolution_stays(forward) -> None:
    model = trained(Forked(forward))
    expected = model(X)
    assert convert.fold(model, X) == []
    assert type(model.norm) is nn.BatchNorm2d
    torch.testing.assert_close(model(X), expected, rtol=0, atol=0)


def hooked(model: nn.Module) -> None:
    model[1].register_forward_hook(lambda *_: None)


def shared(model: nn.Module) -> None:
    model[0].add_module("twin", nn.Conv2d(4, 8, 3))
    model[0].twin.weight = model[0].weight


def pruned(model: nn.Module) -> None:
    prune.l1_unstructured(model[0], "weight", 0.5)


def pruned_bias(model: nn.Module) -> None:
    prune.l1_unstructured(model[0], "bias", 0.5)


@pytest.mark.parametrize("happened", [hooked, shared, pruned, pruned_bias])
def test_what_is_in_the_way_of_folding_is_said(happened) -> None:
    model = trained(block())
    happened(model)
    expected = model(X)
    report = convert.fold(model, X)
    assert report == ["3", "4"]
    assert report.left.keys() == {"1"}
    torch.testing.assert_close(model(X), expected, rtol=1e-5, atol=1e-5)


def test_in_training_and_without_statistics_a_norm_stays() -> None:
    model = block().train()
    assert "model.eval()" in convert.fold(model, X).left["1"]
    model = block(norm=nn.BatchNorm2d(8, track_running_stats=False)).eval()
    assert convert.fold(model, X).left == {"1": "it has no running statistics"}


def test_a_grouped_transposed_convolution_and_its_norm_stay_apart() -> None:
    model = trained(nn.Sequential(nn.ConvTranspose2d(4, 8, 3, groups=2), nn.BatchNorm2d(8)))
    assert "groups" in convert.fold(model, X).left["1"]


def test_a_signal_without_a_batch_is_no_batch_without_a_length() -> None:
    # `[C, L]` to the convolution is `[B, C]` to the batch norm, which normalizes the positions.
    model = nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6)).eval()
    x = torch.randn(4, 8)
    model[1].running_mean.normal_()
    expected = model(x)
    assert convert.fold(model, x) == []
    torch.testing.assert_close(model(x), expected, rtol=0, atol=0)


def test_a_half_precision_convolution_takes_in_a_norm_with_float32_statistics() -> None:
    layer, norm = nn.Conv2d(4, 8, 3).bfloat16(), nn.BatchNorm2d(8).eval()
    norm.running_var.fill_(4.0)
    expected = norm(layer(X.bfloat16()).float())
    absorb(layer, norm)
    assert layer.weight.dtype is torch.bfloat16
    torch.testing.assert_close(layer(X.bfloat16()).float(), expected, rtol=0.05, atol=0.02)
