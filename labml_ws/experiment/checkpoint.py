r"""
# Checkpoints

A run may end at any moment: the power fails, a disk is full, somebody needs the machine. What it has written by then is
whole, and it goes on from there: `--resume` continues **bit for bit**, to the weights and the metrics that an undisturbed run
would have had (on one machine, with the same number of threads).

For that a checkpoint holds more than weights: the state of the optimizer and of its schedule, how far the epoch has come
and in which order it goes, what the random numbers for the augmentation were, the sums for the epoch's row, and the
length of `metrics.jsonl`, which is cut back to it. Each is a folder:

| file | what |
|---|---|
| `model.safetensors` | the weights and running statistics |
| `state.pt` | all the rest, which torch reads without running any code from it (`weights_only`) |
| `checksums.json` | SHA-256 of both |

A checkpoint is written at the end of each epoch, before the test, after every `--checkpoint-steps` batches, and whenever
`--checkpoint-minutes` have passed. The last ones stay, and none when the run has ended. [What it survives](../survives.md)
lists what was tried.
"""

import hashlib
import io
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raises the `OSError` of its block again, as one sentence that says which file could not be written, and why."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            f"could not write {path} ({reason}): make room or pass another --out; "
            "what was written before is whole"
        ) from error


def write(path: Path, content: bytes) -> None:
    """
    ## A file is whole or it is not there

    * `path`: the file, whose former content stays until the new one is on the disk; `content`: the new one

    It is written under another name, flushed to the disk, and only then renamed, which the system does at once. Its mode
    is what the user's `umask` says. Raises `OSError`, and leaves no part of it behind.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with explained(path):
            with partial.open("wb") as file:
                file.write(content)
                flush(file)
            partial.replace(path)
            flush_folder(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


# A rename is in the folder, which is flushed on its own. Windows can't open one.
def flush_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def lock(folder: Path) -> int | None:
    """
    ## One run in a folder

    * `folder`: which exists
    * returns a descriptor that holds the lock until it is closed, or the process ends, in whatever way; `None` where the
      system has no such locks

    Raises `BlockingIOError` where another run holds it.
    """
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        # Some file systems of a network cannot lock a folder.
        if not isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


class Checkpoints:
    """
    ## Those of a run

    * `folder`: where they are; `keep`: how many of the last ones stay
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    @property
    def steps(self) -> list[int]:
        """After how many batches they were saved, in order."""
        return sorted(
            int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*")
        )

    def place(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def save(self, step: int, model: dict[str, Tensor], state: dict[str, Any]) -> None:
        """
        * `step`: how many batches were seen; `model`: its `state_dict`; `state`: the rest, tensors, numbers and words in
          dictionaries and lists

        Written into a folder of another name, which is renamed when all of it is on the disk. Raises `OSError`, and leaves the
        earlier ones whole.
        """
        from safetensors.torch import save

        # A run that goes on comes by where it was saved before, with the same numbers.
        if self.place(step).exists():
            return
        torch.save(state, buffer := io.BytesIO())
        contents = {"model.safetensors": save(model), "state.pt": buffer.getvalue()}
        checksums = {name: sha256(content) for name, content in contents.items()}
        contents["checksums.json"] = json.dumps(checksums).encode()
        partial = self.folder / "partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            with explained(self.place(step)):
                partial.mkdir(parents=True)
            for name, content in contents.items():
                write(partial / name, content)
            with explained(self.place(step)):
                partial.rename(self.place(step))
                flush_folder(self.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for old in self.steps[: -self.keep]:
            shutil.rmtree(self.place(old), ignore_errors=True)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """
        Returns the `model` and the `state` of the last one that is whole, `None` if none is. One that is damaged is named on
        stderr, and renamed.
        """
        from safetensors.torch import load

        for step in reversed(self.steps):
            place = self.place(step)
            try:
                checksums = json.loads((place / "checksums.json").read_text())
                contents = {name: (place / name).read_bytes() for name in checksums}
                if checksums != {name: sha256(content) for name, content in contents.items()}:
                    raise ValueError("a checksum differs")
                state = torch.load(io.BytesIO(contents["state.pt"]), "cpu", weights_only=True)
                return load(contents["model.safetensors"]), state
            except Exception as error:
                print(
                    f"the checkpoint {place} is damaged ({error}): going on from the one before",
                    file=sys.stderr,
                )
                with suppress(OSError):
                    place.rename(place.with_name(f"damaged-{place.name}"))
        return None

    def remove(self) -> None:
        """None is needed when the run has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Stopped(KeyboardInterrupt):
    """
    ## Asked to stop

    Raised when a run has saved what it had. The message says how to go on, `signal` is the number of what stopped it.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Signals:
    """
    Inside `with Signals() as signals`, Ctrl-C, SIGTERM (as from a scheduler) and SIGHUP (a closed terminal) end nothing.
    `signals.number` is that of the last one, or 0. A second one does what it always does. Outside the main thread, which
    alone may listen, nothing changes.
    """

    def __init__(self) -> None:
        self.number = 0
        self.handlers: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                # What is ignored stays so: `nohup` is to outlive the terminal.
                if number and signal.getsignal(number) is not signal.SIG_IGN:
                    self.handlers[number] = signal.signal(number, self.receive)
        return self

    def receive(self, number: int, _: Any) -> None:
        self.number = number
        signal.signal(number, self.handlers[number])

    def __exit__(self, *_: Any) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    # ## See it work
    #
    # Three checkpoints, of which two stay. One byte of the last one changes: the one before is read.
    from contextlib import redirect_stderr
    from tempfile import TemporaryDirectory

    warning = io.StringIO()
    with TemporaryDirectory() as temporary, redirect_stderr(warning):
        checkpoints = Checkpoints(Path(temporary), keep=2)
        for step in (10, 20, 30):
            checkpoints.save(step, {"weight": torch.ones(3) * step}, {"epoch": step // 10})
        print("kept:", checkpoints.steps)
        with (checkpoints.place(30) / "model.safetensors").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"?")
        print("read:", checkpoints.load())
    print(warning.getvalue().strip().rpartition("/")[2])
