"""One standardized weight for several passes gives what standardizing it each time gives, wherever the passes are run."""

import copy
import io
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from labml_ws import Conv2d, ConvTranspose2d, Linear, standardize_once
from labml_ws.layers import Standardized


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Every kind of weight: rows, columns, groups, and layers that are not ours."""
    torch.manual_seed(0)
    return nn.Sequential(
        Conv2d(3, 8, 3, padding=1),
        nn.GroupNorm(4, 8),
        nn.ReLU(),
        ConvTranspose2d(8, 8, 3, groups=2, bias=False),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3),
        nn.Flatten(),
        Linear(4 * 64, 5, eps=1e-3),
    ).to(dtype)


def images(count: int = 4, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 3, 8, 8, dtype=dtype, generator=generator) for _ in range(count)]


def run(model: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> None:
    for x in batches:
        model(x).square().sum().backward()


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {
        name.removeprefix("module."): parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def each_time(batches: Iterable[Tensor] | None = None) -> dict[str, Tensor]:
    model = network()
    run(model, images() if batches is None else batches)
    return gradients(model)


def assert_same(
    ours: dict[str, Tensor], expected: dict[str, Tensor], rtol: float = 1e-12
) -> None:
    assert ours.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(ours[name], gradient, rtol=rtol, atol=rtol * scale)


class Count(TorchDispatchMode):
    """How often each operator runs."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        self.counts[name] = self.counts.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


def untouched(model: nn.Module) -> bool:
    return all(m.kept is None for m in model.modules() if isinstance(m, Standardized))


# It is exact


def test_the_gradients_are_those_of_standardizing_each_time() -> None:
    model = network()
    with standardize_once(model) as names:
        run(model, images())
    assert names == ["0", "3", "8"]
    assert_same(gradients(model), each_time())
    assert untouched(model)


def test_it_adds_to_the_gradient_that_is_there_as_backward_does() -> None:
    model = network()
    for part in (images()[:2], images()[2:]):
        with standardize_once(model):
            run(model, part)
    assert_same(gradients(model), each_time())


def test_each_weight_is_standardized_once_and_its_gradient_passed_on_once() -> None:
    model = network()
    with Count() as count, standardize_once(model):
        run(model, images())
    assert count.counts["native_layer_norm"] == 3
    assert count.counts["native_layer_norm_backward"] == 3


def test_in_evaluation_one_w_hat_serves_all_images() -> None:
    model = network().eval()
    expected = [model(x) for x in images()]
    with torch.no_grad(), Count() as count, standardize_once(model):
        outputs = [model(x) for x in images()]
    assert count.counts["native_layer_norm"] == 3
    torch.testing.assert_close(outputs, expected)
    with torch.inference_mode(), standardize_once(model):
        torch.testing.assert_close([model(x) for x in images()], expected)
    assert not gradients(model)


def test_a_model_made_for_inference_can_be_run() -> None:
    with torch.inference_mode():
        model = network()
        with standardize_once(model):
            outputs = [model(x) for x in images()]
    torch.testing.assert_close(outputs, [network()(x) for x in images()])


def test_gradients_are_gathered_where_no_grad_is_lifted_inside() -> None:
    model = network()
    with torch.no_grad(), standardize_once(model), torch.enable_grad():
        run(model, images())
    assert_same(gradients(model), each_time())


def test_frozen_weights_get_no_gradient_and_are_kept() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    with Count() as count, standardize_once(model):
        run(model, images())
    assert count.counts["native_layer_norm"] == 3
    expected = each_time()
    del expected["0.weight"]
    assert_same(gradients(model), expected)


def test_a_weight_that_two_layers_share_gets_both_gradients() -> None:
    def shared() -> nn.Sequential:
        model = nn.Sequential(Conv2d(3, 3, 3), nn.Tanh(), Conv2d(3, 3, 3)).double()
        model[2].weight = model[0].weight
        return model

    torch.manual_seed(0)
    model = shared()
    with standardize_once(model):
        run(model, images())
    once = gradients(model)
    model.zero_grad()
    run(model, images())
    assert_same(once, gradients(model))


def test_a_gradient_penalty_is_exact() -> None:
    def penalty(model: nn.Module) -> None:
        for x in images():
            x = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
            slope.square().sum().backward()

    model, expected = network(), network()
    penalty(expected)
    with standardize_once(model):
        penalty(model)
    assert_same(gradients(model), gradients(expected), rtol=1e-10)


# Wherever the passes are run


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing(reentrant: bool) -> None:
    model = network()

    def forward(x: Tensor) -> Tensor:
        return checkpoint(model, x.clone().requires_grad_(), use_reentrant=reentrant)

    with Count() as count, standardize_once(model):
        run(forward, images())
    assert count.counts["native_layer_norm"] == 3
    assert_same(gradients(model), each_time())


def test_torch_compile_compiles_once_for_all_blocks() -> None:
    torch.compiler.reset()
    model, graphs = network(), []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        from torch._dynamo.backends.debugging import aot_eager

        return aot_eager(graph, inputs)

    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for part in (images()[:2], images()[2:]):
        with standardize_once(compiled):
            run(compiled, part)
    assert len(graphs) == 1
    assert_same(gradients(model), each_time())
    model.zero_grad()
    run(compiled, images())
    assert_same(gradients(model), each_time())


def test_autocast() -> None:
    model, expected = network(torch.float32), network(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        run(expected, images(dtype=torch.float32))
        with standardize_once(model):
            run(model, images(dtype=torch.float32))
    assert_same(gradients(model), gradients(expected), rtol=0.05)


def test_accelerates_accumulation() -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(gradient_accumulation_steps=2, cpu=True)
    model, plain = network(), network()
    optimizer = accelerator.prepare(torch.optim.SGD(model.parameters(), 0.1))
    prepared = accelerator.prepare(model)
    oracle = torch.optim.SGD(plain.parameters(), 0.1)
    for group in (images()[:2], images()[2:]):
        with standardize_once(prepared):
            for x in group:
                with accelerator.accumulate(prepared):
                    accelerator.backward(prepared(x).square().sum())
        accelerator.clip_grad_norm_(prepared.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

        for x in group:
            (plain(x).square().sum() / 2).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        oracle.step()
        oracle.zero_grad()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), parameter, rtol=1e-10, atol=1e-12)


PROCESS = """
import sys, pytest, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, sys.argv[3])
from test_once import assert_same, each_time, gradients, images, network, run
from labml_ws import standardize_once

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
model = DistributedDataParallel(network())
mine = images(8)[rank::2]
expected = {name: gradient / 2 for name, gradient in each_time(images(8)).items()}
for split in (0, 0, 2, 2):  # so many micro-batches in a block of their own, which ends without synchronization
    model.zero_grad()
    with model.no_sync(), standardize_once(model):
        run(model, mine[:split])
    with standardize_once(model):
        with model.no_sync():
            run(model, mine[split:-1])
        run(model, mine[-1:])
    assert_same(gradients(model), expected)
for option in ("find_unused_parameters", "static_graph"):
    with pytest.raises(ValueError, match=f"without {option}"):
        with standardize_once(DistributedDataParallel(network(), **{option: True})):
            pass
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_distributed_data_parallel_without_synchronization_until_the_last(
    tmp_path: Path,
) -> None:
    (tmp_path / "process.py").write_text(PROCESS)
    command = [sys.executable, str(tmp_path / "process.py")]
    folders = [str(tmp_path), str(Path(__file__).parent)]
    processes = [
        subprocess.Popen(
            [*command, str(rank), *folders],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output


# What goes wrong is said


def test_a_weight_that_changes_inside_is_an_error_at_the_next_forward_pass() -> None:
    model = network()

    def train() -> None:
        with standardize_once(model):
            for x in images():
                run(model, [x])
                with torch.no_grad():
                    model[0].weight.add_(1)
                passes.append(x)

    passes: list[Tensor] = []
    with pytest.raises(RuntimeError, match=r"expected 0\.weight to stay as it is"):
        train()
    assert len(passes) == 1
    assert untouched(model)


CHANGES: dict[str, Callable[[nn.Module], Any]] = {
    "in place": lambda layer: layer.weight.detach().add_(1),
    "loaded": lambda layer: layer.load_state_dict(layer.state_dict()),
    "replaced": lambda layer: setattr(layer, "weight", nn.Parameter(layer.weight.detach())),
    "moved": lambda layer: layer.float(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_after_the_last_pass_is_an_error_at_the_end_and_no_gradient_is_passed_on(
    change: Callable[[nn.Module], Any],
) -> None:
    model = network()

    def train() -> None:
        with standardize_once(model):
            run(model, images())
            change(model[8])

    with pytest.raises(RuntimeError, match=r"expected 8\.weight to stay as it is"):
        train()
    assert model[0].weight.grad is model[8].weight.grad is None
    assert untouched(model)


def test_backward_after_the_end_is_an_error_and_not_a_lost_gradient() -> None:
    model = network()
    with standardize_once(model):
        loss = sum(model(x).square().sum() for x in images())
    with pytest.raises(RuntimeError, match=r"backward\(\) before the block is left"):
        loss.backward()


def test_an_exception_leaves_the_layers_as_they_were() -> None:
    model = network()

    def train() -> None:
        with standardize_once(model):
            run(model, images())
            model(torch.ones(1, 2, 8, 8, dtype=torch.float64))

    with pytest.raises(RuntimeError, match="channels"):
        train()
    assert untouched(model)
    assert model[0].weight.grad is None
    model.zero_grad()
    run(model, images())
    assert_same(gradients(model), each_time())


def test_an_exception_on_the_way_in_leaves_the_layers_as_they_were() -> None:
    model = network()
    model[8].eps = "none"
    with pytest.raises(TypeError), standardize_once(model):
        pass
    assert untouched(model)


def test_a_block_in_a_block_leaves_it_to_the_outer_one() -> None:
    model = network()
    with standardize_once(model):
        run(model, images()[:2])
        with standardize_once(model) as names:
            run(model, images()[2:3])
        assert names == []
        assert model[0].weight.grad is None
        run(model, images()[3:])
    assert_same(gradients(model), each_time())


def test_an_outer_block_takes_what_an_inner_one_has_not() -> None:
    model = network()
    with standardize_once(model[0]) as first:
        with standardize_once(model) as others:
            run(model, images())
        assert model[8].weight.grad is not None
        assert model[0].weight.grad is None
    assert (first, others) == ([""], ["3", "8"])
    assert_same(gradients(model), each_time())


@pytest.mark.parametrize("how", ["deepcopy", "saved"])
def test_a_copy_that_is_made_inside_keeps_nothing(how: str) -> None:
    model = network()
    with standardize_once(model):
        if how == "deepcopy":
            copied = copy.deepcopy(model)
        else:
            torch.save(model, buffer := io.BytesIO())
            buffer.seek(0)
            copied = torch.load(buffer, weights_only=False)
        assert model.state_dict().keys() == network().state_dict().keys()
    assert untouched(copied)
    run(copied, images())
    assert_same(gradients(copied), each_time())


def test_memory_is_let_go_without_the_garbage_collector() -> None:
    import gc
    import weakref

    model = network()
    gc.disable()
    try:
        with standardize_once(model):
            run(model, images())
            leaf = weakref.ref(model[0].kept.leaf)
        assert leaf() is None
    finally:
        gc.enable()


def test_layers_whose_weight_is_not_their_own_compute_as_before() -> None:
    def changed() -> nn.Sequential:
        model = network()
        prune.l1_unstructured(model[0], "weight", 0.5)
        parametrizations.weight_norm(model[8])
        return model

    model, expected = changed(), changed()
    run(expected, images())
    with standardize_once(model) as names:
        run(model, images())
    assert names == ["3"]
    assert_same(gradients(model), gradients(expected))


def test_a_model_without_standardized_layers_is_left_alone() -> None:
    model = nn.Linear(3, 3)
    with standardize_once(model) as names:
        model(torch.ones(1, 3)).sum().backward()
    assert names == []
    assert model.weight.grad is not None
