"""Runs that end at any line of the trainer, in processes of their own, and what becomes of them when they go on."""

import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file

from labml_ws.experiment import cifar10, writing
from labml_ws.experiment.__main__ import main
from labml_ws.experiment.config import Config

TIMES = {"seconds", "train_seconds", "images_per_second"}
TRAINER = os.path.dirname(writing.__file__)  # noqa: PTH120
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# Twelve batches of 8, six an epoch; three kinds of training.
TINY: dict[str, Any] = {
    "data": "digits",
    "width": 1 / 16,
    "epochs": 2,
    "batch_size": 8,
    "validation": 0.0,
    "tracker": "none",
    "cpu": True,
    "threads": 1,
}
KINDS: dict[str, dict[str, Any]] = {
    "adam": {"checkpoint_steps": 2, "learning_rate": 1e-3},
    "sgd": {
        "optimizer": "sgd",
        "schedule": "one-cycle",
        "accumulate": 4,
        "learning_rate": 0.01,
        "checkpoint_steps": 1,
        "norm": "bn",
    },
    # Five batches an epoch, and the test at the end.
    "validated": {"validation": 0.1, "checkpoint_steps": 2, "learning_rate": 1e-3},
}
# Where a run can be ended: the functions whose lines are counted.
PLACES = {
    "mid-epoch": {"Training.epoch", "Training.update", "Training.report"},
    "writing a file": {"write", "flush", "flush_folder"},
    "between the files of a checkpoint": {
        *("Checkpoints.save", "Record.save_checkpoint", "Resumable.save"),
    },
    "testing": {
        *("evaluate", "Resumable.until_stopped", "Training.measured_on", "Training.end_epoch"),
    },
    "anywhere": set[str](),
}


def tiny(kind: str, **settings: Any) -> Config:
    return Config(**{**TINY, **KINDS[kind], "out": Path("cut"), **settings})


@cache
def images(train: int = 48, test: int = 20) -> cifar10.Images:
    """The first of the digits."""
    digits = cifar10.load("digits")
    return replace(
        digits,
        train_x=digits.train_x[:train],
        train_y=digits.train_y[:train],
        test_x=digits.test_x[:test],
        test_y=digits.test_y[:test],
    )


def result(folder: Path) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """The metrics without times, and the bytes of the weights: the last and, with validation, the best."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]
    weights = {
        f"{name} {key}": tensor.numpy().tobytes()
        for name in (writing.LAST, writing.BEST)
        if (folder / name).exists()
        for key, tensor in load_file(folder / name).items()
    }
    return rows, weights


class Lines:
    """
    Counts the trainer's lines as they run, by function. Before the `number`-th one of those in `functions` (none: of all)
    its own process gets a signal.
    """

    def __init__(self, functions: set[str], number: int, signum: int) -> None:
        self.functions, self.number, self.signum = functions, number, signum
        self.counts: Counter[str] = Counter()
        self.met, self.sent = 0, 0.0

    def call(self, frame: FrameType, event: str, _: Any) -> Any:
        return self.line if frame.f_code.co_filename.startswith(TRAINER) else None

    def line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            name = frame.f_code.co_qualname
            self.counts[name] += 1
            self.met += not self.functions or name in self.functions
            if self.met == self.number and self.signum:
                signum, self.signum = self.signum, 0
                where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                Path("sent.json").write_text(json.dumps([time.time(), f"{where} {name}"]))
                self.sent = time.process_time()
                os.kill(os.getpid(), signum)
        return self.line


def child(
    folder: Path, words: list[str], functions: set[str], number: int, signum: int
) -> None:
    """What a process does: the command line, with `digits` cut to a few, and its lines counted."""
    os.chdir(folder)
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    # Whoever runs the tests in the background has these ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    writing.probe = lambda config: {}
    cut = images()
    cifar10.load = lambda *_, **__: cut
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    lines = Lines(functions, number, signum)
    sys.settrace(lines.call)
    code = main(words)
    sys.settrace(None)
    Path("counts.json").write_text(json.dumps(lines.counts))
    # What else a machine does, this clock does not count.
    Path("processor.txt").write_text(str(time.process_time() - lines.sent))
    sys.exit(code)


WARM = "tests.experiment.warm"


@cache
def warm() -> Any:
    """A process that has imported all of it, from which each other one is forked: called where the project's root is."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([WARM])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    multiprocessing.forkserver.ensure_running()  # type: ignore[attr-defined]
    return context


def start(
    config: Config, folder: Path, place: str = "", number: int = 0, signum: int = 0
) -> Any:
    """A run in a process of its own. In `folder`, a signal comes before the line of that number, of those in `place`."""
    folder.mkdir(exist_ok=True)
    arguments = (folder, writing.options(config), PLACES.get(place, set()), number, signum)
    process = warm().Process(target=child, args=arguments)
    process.start()
    return process


def code(process: Any) -> int:
    process.join(300)
    assert process.exitcode is not None, "a run did not end in five minutes"
    return int(process.exitcode)


@dataclass(frozen=True)
class Whole:
    """An undisturbed run: what came out, and how often each function's lines ran."""

    rows: list[dict[str, Any]]
    weights: dict[str, bytes]
    counts: dict[str, int]

    def lines(self, place: str) -> int:
        functions = PLACES[place] or self.counts.keys()
        return sum(self.counts[name] for name in functions if name in self.counts)


def undisturbed(kind: str, folder: Path) -> Whole:
    assert code(start(tiny(kind), folder)) == 0, (folder / "said.txt").read_text()
    return Whole(*result(folder / "cut"), json.loads((folder / "counts.json").read_text()))


@dataclass(frozen=True)
class Point:
    """
    Where a run is ended: `share` of the way through the lines of `place`. With `again`, it is ended anew when it has gone
    on, after those shares of the lines of a whole run.
    """

    kind: str
    place: str
    signum: signal.Signals
    share: float
    again: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}, {self.place}, {self.signum.name}"


def points(number: int, seed: int, again: float = 0.0) -> Iterator[Point]:
    """`number` of them, every place with every signal in turn, at lines that are drawn; `again`: how many end anew."""
    draw = random.Random(seed)
    turns = itertools.cycle(itertools.product(PLACES, SIGNALS))
    for count, (place, signum) in enumerate(itertools.islice(turns, number)):
        kind = [*KINDS][(count + count // len(SIGNALS)) % len(KINDS)]
        share = draw.random()
        more = tuple(draw.random() for _ in range(2)) if draw.random() < again else ()
        yield Point(kind, place, signum, share, more)


def end(point: Point, folder: Path, whole: Whole) -> dict[str, Any]:
    """
    Ends a run at a point, lets it go on until it has finished, and says what came of it: `outcome` is `equal`, `differing`
    or `lost`, `line` is where it was, `seconds` how long it took from the signal to its end, and `processor` how long a processor had to work
    for that.
    """
    number = 1 + int(point.share * whole.lines(point.place))
    answers = [code(start(tiny(point.kind), folder, point.place, number, point.signum))]
    ended = time.time()
    sent, line = json.loads((folder / "sent.json").read_text())
    answer = folder / "processor.txt"
    processor = float(answer.read_text()) if answer.exists() else 0.0
    for share in point.again:
        number = 1 + int(share * sum(whole.counts.values()))
        config = tiny(point.kind, resume=True)
        answers.append(code(start(config, folder, "anywhere", number, signal.SIGKILL)))
    answers.append(code(start(tiny(point.kind, resume=True), folder)))
    report = {
        "kind": point.kind,
        "place": point.place,
        "signal": point.signum.name,
        "line": line,
        "exit": answers,
        "seconds": round(ended - sent, 3),
        "processor": round(processor, 3),
    }
    return report | {"outcome": outcome(folder, answers, whole)}


def outcome(folder: Path, answers: list[int], whole: Whole) -> str:
    """One that had ended before its last process was told to end is refused with 2: its record is there."""
    said = (folder / "said.txt").read_text()
    held = answers[-1] == 2 and "already holds the record of a run" in said.splitlines()[-1]
    if answers[-1] != 0 and not held:
        return "lost"
    try:
        rows, weights = result(folder / "cut")
    except (OSError, ValueError):
        return "lost"
    left = {path.name for path in (folder / "cut").iterdir() if "failed-" not in path.name}
    tidy = left - {writing.BEST} == {"config.json", "metrics.jsonl", writing.LAST}
    same = (rows, weights) == (whole.rows, whole.weights)
    return "equal" if same and tidy else "differing"
