"""Networks that we didn't write go in and come out, with what follows each convolution found in their graph."""

import copy
import io
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from labml_ws import convert
from tools import networks
from tools.networks import X

# Counted by hand, in timm's code: how many convolutions a normalization follows, and how many not.
COUNTS = {
    "resnet18": (20, 0),
    "resnetv2_50": (53, 1),  # the head
    "resnetv2_50x1_bit": (0, 54),  # a subclass that standardizes already, and the head
    "densenet121": (36, 0),
    "vgg11_bn": (8, 2),  # the two that stand for linear layers
    "vgg11": (0, 10),
    "tf_efficientnet_b0": (
        44,
        37,
    ),  # two in each of 16 squeeze-and-excitations, and five subclasses
    "convnext_atto": (13, 27),  # the stem and the depthwise ones of 12 blocks, of 1 + 3 + 36
    "unet": (10, 3),  # two whose output is concatenated and convolved, and the head
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*hold statistics of what"),
    # timm's own
    pytest.mark.filterwarnings("ignore:Mapping deprecated model name"),
]


@pytest.fixture(scope="module", params=networks.NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def converted(name: str) -> tuple[nn.Module, convert.Report]:
    return networks.converted(name)


def test_what_a_normalization_follows_is_converted_and_nothing_else(
    name: str, converted
) -> None:
    model, report = converted
    assert (len(report), len(report.left)) == COUNTS[name]
    assert sum(hasattr(module, "w_hat") for module in model.modules()) == len(report)


def loud(model: nn.Module, names: list[str], x: Tensor) -> Tensor:
    """How far the output moves, relative to its size, when these convolutions give eight times as much."""
    model = copy.deepcopy(model).double().train()
    hooks = [
        model.get_submodule(one).register_forward_hook(lambda _, __, y: 8 * y) for one in names
    ]
    torch.manual_seed(0)
    louder = model(x.double())
    for hook in hooks:
        hook.remove()
    torch.manual_seed(0)
    quiet = model(x.double())
    return (louder - quiet).norm() / quiet.norm()


# An oracle that knows nothing of graphs: a normalization takes out what a convolution is multiplied by. Behind a sum it
# does so only if all of the sum is multiplied, so there it has nothing to say.
def test_the_scale_of_each_converted_layer_is_normalized_away_and_that_of_the_others_is_not(
    name: str, converted
) -> None:
    model, report = networks.network(name), converted[1]
    for module in model.modules():
        if hasattr(module, "eps"):
            module.eps = 1e-12  # so small that it takes no part
    through_add = networks.NETWORKS[name][2]
    others = [one for one, why in report.left.items() if "subclass" not in why]
    with torch.no_grad():
        if report and not through_add:
            assert loud(model, list(report), X) < 1e-3
        if others:
            assert loud(model, others, X) > 1e-2


def test_a_folded_network_computes_the_same_and_the_table_says_what_was_done(
    name: str, converted
) -> None:
    model, report = copy.deepcopy(converted)
    with torch.no_grad():
        expected = model(X)
        folded = convert.fold(model, X)
        result = model(X)
    assert set(report) <= set(folded)
    assert not any(hasattr(module, "w_hat") for module in model.modules())
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5 * expected.abs().max())
    if name in ("resnet18", "unet", "vgg11_bn"):
        assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    done, left = COUNTS[name]
    row = networks.row(name, report, folded)
    assert f"| {done} of {done + left} |" in row
    assert row.count("|") == 6


# ## What people do with the result


@pytest.fixture(scope="module", params=["converted", "folded", "bcn"])
def result(request: pytest.FixtureRequest) -> nn.Module:
    model = networks.network("unet")
    convert.standardize(model, X, norm="bcn" if request.param == "bcn" else None)
    update_bn([X] * 20, model)
    model.eval()
    if request.param == "folded":
        convert.fold(model, X)
    return model


def test_the_result_can_be_saved_loaded_and_copied(result: nn.Module) -> None:
    expected = result(X)
    torch.testing.assert_close(copy.deepcopy(result)(X), expected, rtol=0, atol=0)
    file = io.BytesIO()
    torch.save(result.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(result)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(torch.load(file))
    torch.testing.assert_close(other(X), expected, rtol=0, atol=0)


def test_the_result_can_be_exported_and_compiled(result: nn.Module) -> None:
    expected = result(X)
    program = torch.export.export(result, (X,)).module()
    torch.testing.assert_close(program(X), expected)
    compiled = torch.compile(result, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(X), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_onnxruntime_computes_what_the_result_does(result: nn.Module, tmp_path: Path) -> None:
    import onnxruntime

    path = tmp_path / "model.onnx"
    torch.onnx.export(result, (X,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: X.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), result(X).detach(), rtol=1e-4, atol=1e-4)
