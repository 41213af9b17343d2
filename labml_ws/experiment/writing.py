r"""
# Writing a record

A run writes as it goes, into a folder that is its own for as long as it lasts.
"""

import errno
import hashlib
import itertools
import json
import os
import platform
import re
import shlex
import sys
import time
from contextlib import suppress
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labml_ws.experiment import tracking
from labml_ws.experiment.checkpoint import Checkpoints, explained, flush, lock, write
from labml_ws.experiment.cifar10 import Images
from labml_ws.experiment.config import BEFORE, Config
from labml_ws.experiment.probe import probe
from labml_ws.experiment.record import Run, rounded

LAST, BEST = "model.safetensors", "best.safetensors"
# In the order in which a failed run's are moved away: as long as there is a config.json, it can be done again.
FILES = ("checkpoints", tracking.FOLDER, BEST, LAST, "metrics.jsonl", "config.json")
# Settings that may be others when a run goes on.
FREE = {"out", "note", "resume", "checkpoint_steps", "checkpoint_minutes", "checkpoints"} | {
    "tracker",
}
# So many rows that were skipped are named; all are counted.
NAMED = 100


class Record:
    """
    ## The writer

    * `config`, `images`, `device`, `processes`: what is run, on what, and where

    Raises `FileExistsError` when the folder already holds a record, or another run writes one into it: nothing is written
    over. What a failed run has left there is moved into a folder `failed-1`, `failed-2`, ... inside. Raises `OSError` where
    nothing can be written.
    """

    def __init__(
        self, config: Config, images: Images, device: torch.device, processes: int = 1
    ) -> None:
        self.folder, self.half = config.folder, config.half_weights
        self.start = time.perf_counter()
        self.lock: int | None = None
        about = description(config, images, device)
        about["hardware"]["processes"] = processes
        if processes > 1:
            about["hardware"]["backend"] = torch.distributed.get_backend()
        self.resumed: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock = lock(self.folder)
        except BlockingIOError:
            raise FileExistsError(
                f"another run is writing its record into {self.folder}: wait for its end, or "
                "pass another --out"
            ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OSError(
                f"expected --out with a folder that can be made, got {self.folder} ({reason})"
            ) from error
        self.checkpoints = Checkpoints(self.folder / "checkpoints", config.checkpoints)
        try:
            # The last checkpoint, when the run is one that goes on.
            self.resumed = self.clear(config, about)
            if self.resumed is None:
                write(
                    self.folder / "config.json", (json.dumps(about, indent=2) + "\n").encode()
                )
        except BaseException:
            self.close()
            raise

    def clear(
        self, config: Config, about: dict[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        run, steps = Run(self.folder), self.checkpoints.steps
        if (self.folder / "config.json").exists():
            if run.finished and not run.diverged:
                self.checkpoints.remove()
                raise FileExistsError(
                    f"{self.folder} already holds the record of a run: "
                    "pass another --out, or remove it first"
                )
            if steps and config.resume:
                compare(run.about, about)
                if (checkpoint := self.checkpoints.load()) is not None:
                    self.rewind(checkpoint[1])
                    return checkpoint
            elif steps and not run.diverged:
                raise FileExistsError(
                    f"{self.folder} holds a run that was interrupted, and its checkpoint of step "
                    f"{steps[-1]}: add --resume to go on with it, or pass another --out"
                )
            self.set_aside()
        elif (self.folder / "metrics.jsonl").exists():
            raise FileExistsError(
                f"{self.folder} holds a metrics.jsonl, and no config.json that says of which "
                "run: pass another --out, or move it away first"
            )
        return None

    # Rows behind the checkpoint come again. Its clock goes on.
    def rewind(self, state: dict[str, Any]) -> None:
        for partial in self.folder.glob("*.partial"):
            partial.unlink()
        with explained(self.folder / "metrics.jsonl"):
            os.truncate(self.folder / "metrics.jsonl", state["metrics"])
        self.start = time.perf_counter() - state["seconds"]

    def save_checkpoint(self, step: int, model: nn.Module, state: dict[str, Any]) -> None:
        """
        * `step`: how many batches were seen; `model`: without wrappers; `state`: what else the training needs to go on
        """
        path = self.folder / "metrics.jsonl"
        with explained(path), path.open("ab") as file:
            flush(file)
            clock = {"metrics": file.tell(), "seconds": time.perf_counter() - self.start}
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        self.checkpoints.save(step, tensors, state | clock)

    def set_aside(self) -> None:
        old = next(
            folder
            for number in itertools.count(1)
            if not (folder := self.folder / f"failed-{number}").exists()
        )
        with explained(old):
            old.mkdir()
            for name in FILES:
                with suppress(FileNotFoundError):
                    (self.folder / name).rename(old / name)
        print(f"a run in {self.folder} had failed: its files are now in {old.name}", flush=True)

    def finish(self) -> None:
        """Removes what only an interrupted run needs."""
        self.checkpoints.remove()

    def close(self) -> None:
        """Lets another run write here."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    # The file is closed after each row, so that an interrupted run keeps every row before that. A row that does not fit on
    # the disk leaves no part of itself.
    def add(self, **row: Any) -> dict[str, Any]:
        row["seconds"] = round(time.perf_counter() - self.start, 2)
        line = json.dumps(rounded(row), allow_nan=False) + "\n"
        path = self.folder / "metrics.jsonl"
        with explained(path), path.open("ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                if file.write(line.encode()) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):
                    file.truncate(end)
                raise
        return row

    def save_best(self, model: nn.Module, accuracy: float) -> None:
        """Keeps the weights if no epoch before had that `accuracy` on the validation images."""
        before = [row["validation_accuracy"] for row in Run(self.folder).kind("epoch")]
        if rounded(accuracy) > max(before, default=-1.0):
            self.save_weights(model, BEST)

    def save_weights(self, model: nn.Module, name: str = LAST) -> None:
        from safetensors.torch import save

        parameters = dict(model.named_parameters())
        tensors = {
            name: tensor.half() if self.half and name in parameters else tensor
            for name, tensor in model.state_dict().items()
        }
        write(self.folder / name, save(tensors))


class Silent(Record):
    """What all processes but the first have in its place: it writes nothing."""

    def __init__(
        self, config: Config, images: Images, device: torch.device, processes: int = 1
    ) -> None:
        self.resumed = self.lock = None
        self.checkpoints = Checkpoints(config.folder / "checkpoints", config.checkpoints)
        self.start = time.perf_counter()

    def add(self, **row: Any) -> dict[str, Any]:
        return row | {"seconds": round(time.perf_counter() - self.start, 2)}

    def save_best(self, model: nn.Module, accuracy: float) -> None:
        pass

    def save_weights(self, model: nn.Module, name: str = LAST) -> None:
        pass

    def save_checkpoint(self, step: int, model: nn.Module, state: dict[str, Any]) -> None:
        pass

    def finish(self) -> None:
        pass


def compare(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises `ValueError` where a run can't go on as another one: of two descriptions, settings and data must be equal."""
    for name in now["config"].keys() - FREE:
        before, after = (
            (BEFORE | about["config"]).get(name, Config.__dataclass_fields__[name].default)
            for about in (then, now)
        )
        if before != after:
            raise ValueError(
                f"expected the settings of the run that goes on, with --{name.replace('_', '-')} "
                f"{before}, got {after}: leave --resume out to begin another one"
            )
    if then["data"] != now["data"]:
        raise ValueError(
            f"expected the data of the run that goes on ({then['data']}), got {now['data']}"
        )


def description(config: Config, images: Images, device: torch.device) -> dict[str, Any]:
    """What `config.json` says."""
    settings = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in asdict(config).items()
    }
    # Where a folder lies on this machine means nothing to others: its name and the data's fingerprint are enough.
    names: dict[Path, str] = {}
    if config.data not in ("hub", "digits"):
        names[Path(config.data)] = settings["data"] = Path(config.data).resolve().name
    if config.out and config.out.is_absolute():
        names[config.out] = settings["out"] = config.out.name
    arguments = []
    for word in words(config):
        option, equals, value = word.partition("=") if "=" in word else ("", "", word)
        arguments.append(option + equals + (value and names.get(Path(value), value)))
    return {
        "config": settings,
        "command": shlex.join(["python", "-m", "labml_ws.experiment", *arguments]),
        "started": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "data": {
            "source": images.source,
            "fingerprint": images.fingerprint,
            "train": len(images.train_y),
            "test": len(images.test_y),
        }
        | held_out(images)
        | (
            {"skipped": len(images.skipped), "rows": [*images.skipped[:NAMED]]}
            if images.skipped
            else {}
        ),
        "colors": {
            name: color.flatten().tolist()
            for name, color in zip(("mean", "std"), images.colors, strict=True)
        },
        "source": source(),
        "probe": probe(config),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "accelerate", "datasets", "numpy")},
        "hardware": hardware(device),
    }


# How many there are to choose by, and how they were chosen.
def held_out(images: Images) -> dict[str, Any]:
    number = len(images.validation_y)
    return {"validation": number, "split": "by class, seed 0"} if number else {}


def words(config: Config) -> list[str]:
    """What follows `python -m labml_ws.experiment`: as it was typed or, in a notebook or another program, as it might be."""
    here = Path(__file__).with_name("__main__.py")
    return sys.argv[1:] if Path(sys.argv[0]).resolve() == here.resolve() else options(config)


def options(config: Config) -> list[str]:
    """The words that give these settings."""
    found: list[str] = []
    for field in fields(config):
        value, option = getattr(config, field.name), field.name.replace("_", "-")
        if value != field.default and isinstance(value, bool):
            found.append(f"--{option}" if value else f"--no-{option}")
        elif value != field.default:
            found += [f"--{option}", str(value)]
    return found


def source(folder: Path = Path(__file__).parents[1]) -> str:
    """16 hexadecimal digits that change with any character of the package: which code was it?"""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def hardware(device: torch.device) -> dict[str, Any]:
    """Device and threads, the name of the GPU or of the processor as far as the system tells it, and its model."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text() if cpuinfo.exists() else ""
    about = dict(re.findall(r"^([\w ]+?)\s*: (.+)$", lines, flags=re.MULTILINE))
    processor = about.get("model name") or platform.processor() or platform.machine()
    # What decides the last digits: instructions that torch uses, family and model of the processor.
    model = [
        torch.backends.cpu.get_cpu_capability(),
        about.get("cpu family"),
        about.get("model"),
    ]
    return {
        "device": str(device),
        "processor": torch.cuda.get_device_name() if torch.cuda.is_available() else processor,
        "model": " ".join(filter(None, model)),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    # ## See it work
    #
    # Record a run that does not train: the files of the folder, and the only line of the metrics.
    from tempfile import TemporaryDirectory

    from labml_ws.experiment import cifar10
    from labml_ws.experiment.config import build

    with TemporaryDirectory() as folder:
        config = Config(data="digits", width=0.25, out=Path(folder) / "run")
        record = Record(config, cifar10.load("digits"), torch.device("cpu"))
        record.add(kind="epoch", epoch=0, validation_accuracy=0.1)
        record.save_weights(build(config))
        for file in sorted(record.folder.iterdir()):
            print(f"{file.name}: {file.stat().st_size:,} bytes")
        print((record.folder / "metrics.jsonl").read_text().strip())
        record.close()
