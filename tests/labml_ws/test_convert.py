"""Into a model and out again, in place: the same parameters, the same function, and nothing half done."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import register_parametrization

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


def pair() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 4, 3, bias=False), nn.Conv2d(4, 4, 3, bias=False))


X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
X4 = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def test_every_convolution_is_standardized_and_the_classifier_is_not() -> None:
    model = network()
    assert convert.standardize(model) == ["0", "2.main.0", "2.short.0"]
    assert [type(m) for m in model.modules() if hasattr(m, "w_hat")] == [Conv2d] * 3
    assert type(model[-1]) is nn.Linear


def test_without_an_example_the_report_says_what_was_not_looked_at() -> None:
    assert "not looked at" in str(convert.standardize(network()))
    assert "not looked at" in str(convert.fold(network()))
    assert "not looked at" not in str(convert.standardize(network(), X))
    assert "not looked at" not in str(convert.fold(network(), X))


def test_the_report_is_a_list_of_names_and_prints_as_a_table() -> None:
    report = convert.standardize(network(), skip="2")
    assert list(report) == ["0"]
    assert report.left == {"2.main.0": "named in skip", "2.short.0": "named in skip"}
    lines = str(report).splitlines()
    assert lines[0].split() == ["0", "Conv2d", "standardized"]
    assert lines[1].split() == ["2.main.0", "Conv2d", "left", "named", "in", "skip"]
    assert lines[3] == "1 standardized, 2 left"
    assert copy.deepcopy(report).rows == report.rows


def test_the_parameters_are_the_same_objects_and_the_optimizer_trains_them() -> None:
    model = network()
    before = dict(model.named_parameters())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    convert.standardize(model, X)
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


# ## Weights that are not the layer's own


def pruned(layer: nn.Module) -> None:
    prune.l1_unstructured(layer, "weight", 0.5)


def spectral(layer: nn.Module) -> None:
    nn.utils.spectral_norm(layer)


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def doubled(layer: nn.Module) -> None:
    register_parametrization(layer, "weight", Doubled())


def patched(layer: nn.Module) -> None:
    layer.forward = layer.forward


COMPUTED = [
    (pruned, r"prune\.remove"),
    (weight_norm, r"parametrize\.remove_parametrizations"),
    (spectral, r"remove_spectral_norm"),
    (doubled, r"parametrize\.remove_parametrizations"),
    (patched, r"forward was replaced"),
]


@pytest.mark.parametrize(("compute", "cure"), COMPUTED)
def test_fold_refuses_a_computed_weight_and_names_the_cure(compute, cure: str) -> None:
    model = pair()
    convert.standardize(model)
    compute(model[1])
    before, classes = model(X4), [type(m) for m in model]
    with pytest.raises(ValueError, match=rf"^1: .*{cure}.*then fold$"):
        convert.fold(model)
    assert [type(m) for m in model] == classes
    model.eval()
    if compute is not spectral:  # it goes on iterating in training
        torch.testing.assert_close(model(X4), before)


@pytest.mark.parametrize(("compute", "cure"), COMPUTED)
def test_standardize_leaves_a_computed_weight_and_says_so(compute, cure: str) -> None:
    model = pair()
    compute(model[0])
    report = convert.standardize(model)
    assert report == ["1"]
    assert report.left.keys() == {"0"}
    with pytest.raises(ValueError, match=cure):
        convert.standardize(model, only="0")


def test_the_named_cure_helps() -> None:
    model = pair()
    convert.standardize(model)
    pruned(model[0])
    weight_norm(model[1])
    prune.remove(model[0], "weight")
    nn.utils.parametrize.remove_parametrizations(model[1], "weight")
    expected = model(X4)
    assert convert.fold(model) == ["0", "1"]
    torch.testing.assert_close(model(X4), expected)


def test_a_weight_without_a_parameter_or_a_known_origin_is_refused_too() -> None:
    model = pair()
    convert.standardize(model)
    weight = model[0].weight
    del model[0].weight
    model[0].weight = weight.detach()
    with pytest.raises(ValueError, match=r"^0: .*no parameter of its own"):
        convert.fold(model)


# ## Weights that are shared


def test_a_weight_that_two_layers_share_is_folded_once() -> None:
    first, second = Conv2d(4, 4, 3, eps=0.5), Conv2d(4, 4, 3, eps=0.5)
    second.weight = first.weight
    expected = first.w_hat.detach().clone()
    convert.fold(nn.Sequential(first, second))
    assert first.weight is second.weight
    torch.testing.assert_close(first.weight.detach(), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "other", [nn.Conv2d(4, 4, 3), Conv2d(4, 4, 3, eps=1.0), layers.ConvTranspose2d(4, 4, 3)]
)
def test_a_weight_that_means_another_thing_to_another_layer_stays_there(
    other: nn.Module,
) -> None:
    model = nn.Sequential(Conv2d(4, 4, 3), copy.deepcopy(other))
    model[1].weight = model[0].weight
    expected = model(X4)
    names = convert.fold(model)
    assert names == (["0"] if type(other) is nn.Conv2d else ["0", "1"])
    assert model[0].weight is not model[1].weight
    torch.testing.assert_close(model(X4), expected)


def test_a_weight_is_standardized_in_all_layers_that_share_it_or_in_none() -> None:
    model = pair()
    model[1].weight = model[0].weight
    report = convert.standardize(model, skip="1")
    assert report == []
    assert "shares its weight with 1" in report.left["0"]
    assert convert.standardize(model) == ["0", "1"]
    expected = model(X4)
    convert.fold(model)
    assert model[0].weight is model[1].weight
    torch.testing.assert_close(model(X4), expected)


class Tied(nn.Module):
    """An autoencoder whose decoder has no layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.norm = nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.encoder(x))
        return nn.functional.conv_transpose2d(x, self.encoder.weight)


def test_a_weight_that_is_used_outside_of_its_layer_is_left_and_not_folded() -> None:
    model = Tied()
    assert "outside" in convert.standardize(model, X4).left["encoder"]
    convert.standardize(model, only="encoder")
    expected = model(X4)
    with pytest.raises(ValueError, match=r"^encoder: .*outside"):
        convert.fold(model, X4)
    torch.testing.assert_close(model(X4), expected)


# ## Names


def test_a_container_stands_for_all_that_is_in_it() -> None:
    assert convert.standardize(network(), skip="2") == ["0"]
    assert convert.standardize(network(), skip=["2.main", "0"]) == ["2.short.0"]
    assert convert.standardize(network(), only="2") == ["2.main.0", "2.short.0"]
    assert convert.standardize(network(), only=["2"], skip="2.main") == ["2.short.0"]


def test_a_name_is_no_prefix() -> None:
    model = nn.ModuleDict({"head": nn.Conv2d(4, 4, 3), "head2": nn.Conv2d(4, 4, 3)})
    assert convert.standardize(model, skip="head") == ["head2"]


def test_any_module_may_be_skipped_also_one_that_would_not_have_changed() -> None:
    model = network()
    assert convert.standardize(model, skip=["4", "1"]) == ["0", "2.main.0", "2.short.0"]
    # And one that has been standardized.
    assert convert.standardize(model, skip=["0"]) == []


@pytest.mark.parametrize("argument", ["skip", "only"])
def test_a_name_that_the_model_does_not_have_is_refused(argument: str) -> None:
    with pytest.raises(
        ValueError,
        match=rf"expected names of the model's modules in {argument}, got 2\.mian: it has 2\.main",
    ):
        convert.standardize(network(), **{argument: ["2.mian"]})


def test_a_layer_under_two_names_can_be_named_by_either() -> None:
    conv = nn.Conv2d(4, 4, 3)
    for name in ("a", "b"):
        model = nn.ModuleDict({"a": conv, "b": conv})
        assert convert.standardize(model, skip=name) == []
    assert convert.standardize(nn.ModuleDict({"a": conv, "b": conv}), only="b") == ["a"]


def test_the_model_can_be_a_single_convolution() -> None:
    assert convert.standardize(model := nn.Conv2d(4, 4, 3)) == ["(the model)"]
    assert convert.fold(model) == ["(the model)"]
    with pytest.raises(ValueError, match=r"^the model: expected at least"):
        convert.standardize(nn.Conv2d(4, 4, 1, groups=4), only="")


# ## What cannot be converted


def test_a_filter_of_one_weight_is_left_and_refused_where_it_is_asked_for() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1, groups=8))
    with pytest.raises(ValueError, match=r"^1: expected at least . weights per filter.*only$"):
        convert.standardize(model, only=["0", "1"])
    assert type(model[0]) is nn.Conv2d
    report = convert.standardize(model)
    assert report == ["0"]
    assert "weights per filter" in report.left["1"]


def test_the_fan_in_of_a_transposed_layer_is_that_of_an_output_channel() -> None:
    # Each output sees one weight of each of four inputs; by rows it would be one.
    assert convert.standardize(nn.Sequential(nn.ConvTranspose2d(4, 1, 1))) == ["0"]
    assert convert.standardize(nn.Sequential(nn.ConvTranspose2d(1, 4, 1))) == []


def test_a_subclass_is_left_and_said() -> None:
    class Own(nn.Conv2d):
        pass

    report = convert.standardize(nn.Sequential(Own(3, 8, 3)))
    assert report == []
    assert report.rows[0].layer == "Own"
    assert "derive it from" in report.left["0"]


def test_a_subclass_of_ours_is_left_by_fold_with_a_warning() -> None:
    class Own(Conv2d):
        pass

    model = nn.Sequential(Own(4, 4, 3), Conv2d(4, 4, 3))
    expected = model(X4)
    with pytest.warns(UserWarning, match="0: Own stays"):
        report = convert.fold(model)
    assert report == ["1"]
    assert report.left.keys() == {"0"}
    torch.testing.assert_close(model(X4), expected)


def test_a_frozen_weight_is_left_unless_it_is_asked_for() -> None:
    model = pair().requires_grad_(False)
    model[1].weight.requires_grad_()
    report = convert.standardize(model)
    assert report == ["1"]
    assert "frozen" in report.left["0"]
    assert convert.standardize(model, only="0") == ["0"]


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize("lazy", [lambda: nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d])
def test_a_lazy_layer_wants_its_first_input_first(lazy) -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), lazy())
    with pytest.raises(ValueError, match=r"^1: a Lazy.*pass a batch through"):
        convert.standardize(model)
    assert type(model[0]) is nn.Conv2d
    model(X4)
    assert convert.standardize(model, skip="0") == (
        ["1"] if isinstance(model[1], nn.Conv2d) else []
    )


def test_a_complex_weight_is_left() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, dtype=torch.complex64))
    assert convert.standardize(model) == []


@pytest.mark.parametrize("bad", [{"eps": -1.0}, {"groups": 0}, {"norm": "ln"}])
def test_a_bad_argument_is_refused_before_anything_changes(bad: dict[str, object]) -> None:
    model = pair()
    with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
        convert.standardize(model, **bad)
    assert type(model[0]) is nn.Conv2d


# ## Checkpoints


def test_a_checkpoint_that_belongs_to_another_kind_of_model_is_noticed() -> None:
    plain, standardized = pair(), pair()
    convert.standardize(standardized, skip="1")
    assert standardized.state_dict()._metadata["0"]["labml_ws"] == {"eps": 1e-5}
    for model, state in (
        (plain, standardized.state_dict()),
        (standardized, plain.state_dict()),
    ):
        with pytest.warns(UserWarning, match=r"^0: standardized in one of"):
            assert convert.check_state_dict(model, state) == ["0"]
        assert convert.check_state_dict(model, model.state_dict()) == []
        assert convert.check_state_dict(model, dict(state)) == []
    other = pair()
    convert.standardize(other, skip="1", eps=1e-3)
    with pytest.warns(UserWarning, match="another eps"):
        convert.check_state_dict(other, standardized.state_dict())
    convert.fold(standardized)
    assert convert.check_state_dict(plain, standardized.state_dict()) == []
