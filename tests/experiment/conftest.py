"""What all tests of the trainer share."""

import pytest

from labml_ws.experiment import tracking


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard takes longer to import than a test of anything else does to run: those of it bring it back."""
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
