"""What all tests of the trainer share."""

from collections.abc import Iterator

import pytest
import torch

from labml_ws.experiment import cifar10, tracking


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
