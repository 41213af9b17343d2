"""BCN in one pass against BCN step by step, in float64: values, gradients, second gradients, statistics; and what it costs."""

import copy
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from labml_ws import BatchChannelNorm, batch_channel_norm, one_pass

BOTH = pytest.mark.parametrize("estimate", [True, False], ids=["estimates", "batch"])
SHAPES = [(1, 6, 1), (3, 6, 1, 1), (1, 6, 5), (2, 6, 4, 3), (2, 6, 3, 2, 2), (3, 6, 20, 20)]


def norm(estimate: bool, seed: int = 0, **settings: float) -> BatchChannelNorm:
    torch.manual_seed(seed)
    norm = BatchChannelNorm(6, 3, eps=1e-3, estimate=estimate, **settings).double()
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 2)
    return norm


def at_once(norm: BatchChannelNorm, x: Tensor) -> Tensor:
    return one_pass.in_one_pass(x, norm.batch_norm, norm.channel_norm)


def by_steps(norm: BatchChannelNorm, x: Tensor) -> Tensor:
    return norm.channel_norm(norm.batch_norm(x))


def values(form: Callable[[BatchChannelNorm, Tensor], Tensor], n: BatchChannelNorm, x: Tensor):
    """Output, gradients and second gradients after two passes, then the buffers."""
    x = x.clone().requires_grad_()
    form(n, x.detach().flip(0) + 1)
    y = form(n, x)
    g = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape).sin()
    leaves = [x, *n.parameters()]
    first = torch.autograd.grad((y + y.square()).mul(g).sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(t.square().sum() for t in first), leaves)
    return [y, *first, *second, *n.buffers()]


@BOTH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_both_spellings_agree_in_values_gradients_second_gradients_and_statistics(
    estimate: bool, shape: tuple[int, ...], momentum: float | None
) -> None:
    generator = torch.Generator().manual_seed(1)
    x = 3 * torch.randn(shape, dtype=torch.float64, generator=generator) + 2
    if not estimate and x[:, 0].numel() == 1:
        pytest.skip("a batch norm needs more than one value")
    found = values(at_once, norm(estimate, momentum=momentum), x)
    expected = values(by_steps, norm(estimate, momentum=momentum), x)
    assert len(found) == 1 + 5 + 5 + 3
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@BOTH
def test_a_constant_channel_has_the_same_gradient_in_both_spellings(estimate: bool) -> None:
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    x[:, 2] = 4
    for one, other in zip(
        values(at_once, norm(estimate), x), values(by_steps, norm(estimate), x), strict=True
    ):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@BOTH
def test_its_gradients_are_finite_differences_to_the_second_order(estimate: bool) -> None:
    n, x = norm(estimate, momentum=0.0), torch.randn(2, 6, 3, dtype=torch.float64)
    if estimate:
        n(x)
    leaves = (x.requires_grad_(), *n.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: at_once(n, x), leaves)
    assert torch.autograd.gradgradcheck(lambda x, *_: at_once(n, x), leaves)


@BOTH
def test_in_float32_it_is_as_exact_as_the_steps_far_from_zero(estimate: bool) -> None:
    x = torch.randn(8, 6, 16, 16, generator=torch.Generator().manual_seed(0)) + 1000
    exact = by_steps(norm(estimate, momentum=1.0), x.double())
    for form in (at_once, by_steps):
        n = norm(estimate, momentum=1.0).float()
        assert (form(n, x) - exact).abs().max() < 2e-3


# ## Where it is taken


@pytest.fixture
def pays_early(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """From the first number on; the inputs that come that way."""
    seen: list[Tensor] = []
    form = one_pass.in_one_pass

    def watched(x: Tensor, *norms: nn.Module) -> Tensor:
        seen.append(x)
        return form(x, *norms)

    monkeypatch.setattr(one_pass, "MANY", 1)
    monkeypatch.setattr(batch_channel_norm, "in_one_pass", watched)
    return seen


@BOTH
def test_large_inputs_come_this_way_in_training_and_no_others(
    pays_early: list[Tensor], estimate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, n = torch.randn(2, 6, 5, 5, dtype=torch.float64), norm(estimate)
    n(x)
    assert len(pays_early) == 1
    n.eval()(x)
    n.train()(x.contiguous(memory_format=torch.channels_last))
    n(x[..., :2, :2].contiguous())
    n.half()(x.half())
    n.double()
    n.batch_norm.eval()
    n(x)
    n.train()
    n.channel_norm.register_forward_hook(lambda *_: None)
    n(x)
    monkeypatch.setattr(one_pass, "MANY", 2**21)
    norm(estimate)(x)
    assert len(pays_early) == 1


@BOTH
def test_a_wrong_number_of_channels_is_refused_here_as_well(
    pays_early: list[Tensor], estimate: bool
) -> None:
    with pytest.raises(ValueError, match=r"shape \[B, 6, \*\], got \[2, 3, 5, 5\]"):
        norm(estimate)(torch.randn(2, 3, 5, 5, dtype=torch.float64))


@BOTH
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_repeats_the_one_pass_exactly(
    pays_early: list[Tensor], estimate: bool, reentrant: bool
) -> None:
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    results = []
    for run in (
        lambda n, x: n(x),
        lambda n, x: checkpoint(n, x, use_reentrant=reentrant),
    ):
        n, leaf = norm(estimate), x.clone().requires_grad_()
        run(n, leaf).square().mul(x).sum().backward()
        results.append([leaf.grad, *(p.grad for p in n.parameters()), *n.buffers()])
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    assert len(pays_early) == 3


# ## What it costs


def kept(norm: nn.Module, x: Tensor) -> int:
    """How many bytes a forward pass keeps for the backward pass, each storage once, without the parameters'."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = norm(x)
    y.sum().backward()
    return sum(storages.values())


@BOTH
def test_it_keeps_one_copy_of_the_input_as_a_batch_norm_does(
    pays_early: list[Tensor], estimate: bool
) -> None:
    x = torch.randn(8, 64, 32, 32, requires_grad=True)
    bcn = kept(BatchChannelNorm(64, 32, estimate=estimate), x)
    assert bcn < 1.03 * kept(nn.BatchNorm2d(64), x)
    pays_early.clear()
    one_pass.MANY = 2**40  # the fixture puts it back
    assert 1.9 < kept(BatchChannelNorm(64, 32, estimate=estimate), x) / bcn < 2.1
    assert not pays_early


SIZE = 4 * 64 * 8 * 8


class Kernels(TorchDispatchMode):
    """Counts torch's own operations, forward and backward: those that read the whole input by name, and all."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: Counter[str] = Counter()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.total += 1
        if any(isinstance(arg, Tensor) and arg.numel() >= SIZE for arg in args):
            self.passes[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


# Operations that touch no number, and those of the sum behind the norm.
FREE = {"view", "select", "detach", "sum", "expand", "clone", "_unsafe_view", "alias"}
STEPS = {"native_group_norm": 1, "native_group_norm_backward": 1, "native_batch_norm": 1}
STEPS |= {"native_batch_norm_backward": 1}
ONCE = {"native_group_norm": 1, "native_batch_norm": 2, "native_batch_norm_backward": 1}


@pytest.mark.parametrize(
    ("estimate", "many", "passes", "total"),
    [
        (True, False, STEPS | {"native_group_norm": 2}, 48),
        (False, False, STEPS, 37),
        (True, True, ONCE | {"add": 1}, 160),
        (False, True, ONCE | {"add": 1}, 185),
    ],
    ids=["steps, estimates", "steps, batch", "one pass, estimates", "one pass, batch"],
)
def test_a_training_step_takes_no_more_passes_over_the_input_than_it_must(
    estimate: bool,
    many: bool,
    passes: dict[str, int],
    total: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(one_pass, "MANY", 1 if many else 2**40)
    norm, x = BatchChannelNorm(64, 32, estimate=estimate), torch.randn(4, 64, 8, 8)
    with Kernels() as kernels:
        norm(x.requires_grad_()).sum().backward()
    assert {k: n for k, n in kernels.passes.items() if k not in FREE} == passes
    # A small kernel costs as much as a pass where the input is small.
    assert kernels.total <= total


def test_copies_of_a_norm_share_no_statistics() -> None:
    n = norm(True)
    other = copy.deepcopy(n)
    at_once(n, torch.randn(2, 6, 5, 5, dtype=torch.float64))
    assert other.batch_norm.num_batches_tracked == 0
