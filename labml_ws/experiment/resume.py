r"""
# Going on

What [a training][labml_ws.experiment.train.Training] does for its [checkpoints](checkpoint.md): put all that the rest of
the run depends on into one, take it out again, and stop where it is asked to.
"""

import shlex
import signal
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from labml_ws.experiment.checkpoint import Signals, Stopped
from labml_ws.experiment.config import Config
from labml_ws.experiment.processes import largest
from labml_ws.experiment.writing import Record, words

# Where a run is, as its attributes say it.
PROGRESS = ("number", "step", "done", "seen", "epoch_seconds", "totals", "order_state")

T = TypeVar("T")


class Resumable:
    """
    ## A training that can go on

    Its attributes are made by `Training`.
    """

    config: Config
    accelerator: Any
    model: nn.Module
    optimizer: Any
    scheduler: Any
    record: Record
    signals: Signals
    generator: torch.Generator
    totals: Tensor
    done: int
    total: int
    # When it was saved last, in the seconds of a clock.
    saved: float

    def save(self) -> None:
        """### A checkpoint

        All that the rest of the run depends on. Raises [`Stopped`][labml_ws.experiment.checkpoint.Stopped] if a signal asks
        for it.
        """
        scaler, cuda = self.accelerator.scaler, torch.cuda.is_available()
        state = {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "progress": {name: getattr(self, name) for name in PROGRESS}
            | {"totals": self.accelerator.reduce(self.totals)},
            "augmentation": self.generator.get_state(),
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if cuda else [],
        }
        self.saved = time.perf_counter()
        self.record.save_checkpoint(self.done, self.accelerator.unwrap_model(self.model), state)
        self.stop_if_asked()

    def restore(self, model: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.accelerator.unwrap_model(self.model).load_state_dict(model)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        for name, value in state["progress"].items():
            setattr(self, name, value)
        # What all processes have seen: the first one brings it in.
        self.totals = self.totals.to(self.accelerator.device) * self.accelerator.is_main_process
        self.generator.set_state(state["augmentation"])
        torch.set_rng_state(state["random"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])

    def late(self) -> bool:
        """Whether `--checkpoint-minutes` have passed since the last checkpoint, on the first clock that says so."""
        if not (minutes := self.config.checkpoint_minutes):
            return False
        passed = time.perf_counter() - self.saved >= 60 * minutes
        return bool(largest(self.accelerator, int(passed)))

    def asked(self) -> int:
        return largest(self.accelerator, self.signals.number)

    def gather(self, tensors: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return self.accelerator.gather_for_metrics(tensors)

    def stop_if_asked(self) -> None:
        if number := self.asked():
            command = shlex.join(["python", "-m", "labml_ws.experiment", *words(self.config)])
            again = command if self.config.resume else f"{command} --resume"
            raise Stopped(
                f"stopped by {signal.Signals(number).name} after batch {self.done} of "
                f"{self.total}, which is saved; to go on: {again}",
                number,
            )

    def until_stopped(self, batches: Iterable[T]) -> Iterator[T]:
        for batch in batches:
            self.stop_if_asked()
            yield batch
