"""What all tests of the trainer share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from labml_ws.experiment import cifar10, tracking, writing
from labml_ws.experiment.cifar10 import Images
from tests.experiment import interrupted


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard takes longer to import than a test of anything else does to run: those of it bring it back."""
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trains in float64, whose sums hardly depend on their order: in float32 rounding alone may switch a ReLU."""
    monkeypatch.setattr(
        cifar10, "normalize", lambda x, mean, std: (x.double() / 255 - mean) / std
    )
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def images() -> Images:
    """Few enough for a second."""
    return interrupted.images(96, 50)


@pytest.fixture
def small(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and these images also on the command line. Accelerate remembers its first settings for the life of
    a process; a probe, which takes longer than the run, has tests of its own."""
    monkeypatch.setattr(writing, "probe", lambda config: {})
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    load = cifar10.load
    monkeypatch.setattr(
        cifar10,
        "load",
        lambda data="hub", **more: images if data == "digits" else load(data, **more),
    )
    monkeypatch.chdir(tmp_path)
