r"""
# Runs at a glance

`python -m labml_ws.experiment.runs` reads [records](record.md), this site's or one's own:

| command | what it answers |
|---|---|
| `list FOLDER ...` | how did they do? A line for each run: in which settings it differs, epochs, accuracies, time |
| `compare A B` | what is different between two? Settings, versions, hardware, results |
| `draw FOLDER ... --to FILE` | how did they get there? Loss and accuracy through training, as a picture |
| `show RUN` | what was one? Its command, images, hardware and epochs |
| `evaluate RUN` | what do its weights reach now? |
| `predict RUN IMAGE ...` | what do they see in an image? |

The tables and curves of [*Results*](../tutorials/recorded_run.md) are made by the same functions.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labml_ws.experiment.config import APART
from labml_ws.experiment.decoding import DataError
from labml_ws.experiment.plots import Table, label_ends
from labml_ws.experiment.record import RecordError, Run, mean_spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def found(folders: Sequence[Path]) -> list[Run]:
    """
    ## Which runs

    * `folders`: each a record, or a folder with records at any depth
    * returns them in alphabetical order. What [a failed run has left][labml_ws.experiment.writing.Record] is none

    Raises `RecordError` for a folder without any.
    """
    runs = []
    for folder in folders:
        files = sorted(folder.rglob("config.json"))
        own = [file.parent for file in files if "failed-" not in file.parent.name]
        if not own:
            raise RecordError(f"expected records in {folder}, found none")
        runs += [Run(place) for place in own]
    return runs


def settings(run: Run) -> dict[str, Any]:
    """What decides its result: all settings but [those that hardly touch it][labml_ws.experiment.config]."""
    return {name: value for name, value in asdict(run.config).items() if name not in APART}


def differing(runs: Sequence[Run]) -> list[str]:
    """The names of the settings that are not the same for all."""
    each = [settings(run) for run in runs]
    return [name for name in each[0] if len({str(one[name]) for one in each}) > 1]


def percent(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{100 * accuracy:.1f}"


def listed(runs: Sequence[Run]) -> Table:
    """
    ## A line for each

    * returns a table: the settings in which they differ; how many epochs; the accuracies on validation and test images (%)
      after the last; minutes
    """
    names = differing(runs)
    rows = []
    for run in runs:
        each, epochs = settings(run), run.kind("epoch")
        last = epochs[-1] if epochs else {}
        state = "diverged" if run.diverged else "" if run.finished else "unfinished"
        rows.append(
            [
                str(run.folder),
                *(plain(each[name]) for name in names),
                f"{len(epochs)}/{run.config.epochs}",
                percent(last.get("validation_accuracy")),
                state or percent(run.accuracy),
                f"{run.rows[-1]['seconds'] / 60:.1f}" if run.rows else "",
            ]
        )
    heads = [*names, "epochs", "validation %", "test %", "min"]
    return Table(f"{len(runs)} run{'s' * (len(runs) > 1)}", heads, rows)


def plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_seed(run: Run) -> str:
    return run.folder.name.partition("-seed")[0]


def by_seed(
    title: str,
    runs: Sequence[Run],
    order: Callable[[Run], Any] | None = None,
    name: Callable[[Run], str] = without_seed,
) -> Table:
    """
    ## A line for several seeds

    * `title`: of the table; `runs`: those whose folders differ in the seed alone share a line
    * `order`: a key, by which the lines are in order; without, the best is first
    * `name`: what a line is called; runs of one name share it
    * returns a table: mean, spread and each of the test accuracies (%)
    """
    rows = []
    for words, group in groupby(sorted(runs, key=name), name):
        same = list(group)
        average, spread = mean_spread([100 * run.accuracy for run in same])
        each = "\N{EN SPACE}".join(
            "diverged" if run.diverged else f"{100 * run.accuracy:.1f}" for run in same
        )
        failed = any(run.diverged for run in same)
        cells = [words, *(["", ""] if failed else [f"{average:.1f}", f"{spread:.1f}"]), each]
        rows.append((order(same[0]) if order else -average, cells))
    heads = ["mean", "spread", "each seed"]
    return Table(f"{title}: test accuracy (%)", heads, [cells for _, cells in sorted(rows)])


def compared(a: Run, b: Run) -> Table:
    """
    ## What is different

    * returns a table of all that differs between two records: settings, data, versions, hardware, and the results after the
      last epoch
    """
    rows = []
    first, second = (dict(facts(run)) for run in (a, b))
    for name in {**first, **second}:
        if first.get(name) != second.get(name):
            rows.append([name, *(plain(one.get(name, "")) for one in (first, second))])
    return Table("What differs", [str(a.folder), str(b.folder)], rows)


def facts(run: Run) -> Iterator[tuple[str, Any]]:
    yield from asdict(run.config).items()
    for kind in ("data", "versions", "hardware"):
        for name, value in run.about[kind].items():
            yield f"{kind} {name}", value
    last = [rows[-1] for kind in ("epoch", "test") if (rows := run.kind(kind))]
    for row in last:
        for name, value in row.items():
            if name != "kind":
                yield name.replace("_", " "), value


def progress(left: "Axes", right: "Axes", runs: Sequence[Run]) -> None:
    """
    ## Through training

    * `left`: gets the loss of single batches; `right`: the accuracy after each epoch, on validation images where the run held
      some out, otherwise on the test images
    """
    for run in runs:
        steps = run.kind("step")
        length = max((row["step"] for row in steps), default=1)
        time = [row["epoch"] - 1 + row["step"] / length for row in steps]
        left.plot(time, [row["loss"] for row in steps], linewidth=0.8)
        accuracy = [100 * value for value in run.curve]
        right.plot(range(1, len(accuracy) + 1), accuracy, "o-", markersize=4)
        right.get_lines()[-1].set_label(run.folder.name)
    where = sorted({run.held_out for run in runs}, reverse=True)
    left.set(xlabel="epoch", ylabel="training loss (nats)", ylim=(0, None))
    right.set(xlabel="epoch", ylabel=f"{' or '.join(where)} accuracy (%)")
    label_ends(right)


def drawn(runs: Sequence[Run], file: Path) -> None:
    """Draws the two as a picture: `file`, whose ending says of which kind (`.svg`, `.png`, `.pdf`)."""
    from matplotlib import rc_context, style
    from matplotlib.figure import Figure

    with rc_context():
        style.use("labml_ws.experiment.house")
        figure = Figure(figsize=(9.6, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        progress(left, right, runs)
        figure.savefig(file)


def shown(run: Run) -> str:
    """
    ## One run in words

    * returns its command, images, versions and hardware, and a line for each epoch
    """
    about = run.about
    lines = [run.command, f"started {about['started']}"]
    for kind in ("data", "versions", "hardware"):
        facts = ", ".join(f"{name} {value}" for name, value in about[kind].items())
        lines.append(f"{kind}: {facts}")
    for row in [*run.kind("epoch"), *run.kind("test"), *run.kind("diverged")]:
        numbers = {name: plain(value) for name, value in row.items() if name != "kind"}
        facts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in numbers.items())
        lines.append(f"{row['kind']}: {facts}")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    wide = partial(argparse.HelpFormatter, max_help_position=32)
    top = argparse.ArgumentParser(
        prog="python -m labml_ws.experiment.runs",
        description="Recorded runs: list, compare, draw and show them, measure them again, use them.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, title: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=title, description=title, formatter_class=wide)

    def folders(of: argparse.ArgumentParser) -> None:
        of.add_argument(
            "folders", nargs="*", type=Path, default=[Path("runs")], metavar="FOLDER",
            help="a record, or a folder with records at any depth (default: runs)",
        )  # fmt: skip

    def weights(of: argparse.ArgumentParser) -> None:
        of.add_argument("run", type=Path, metavar="RUN", help="the folder of its record")
        of.add_argument(
            "--best",
            action="store_true",
            help="the weights that were best on validation images",
        )
        of.add_argument(
            "--data", default="", help="where its images are (default: as recorded)"
        )

    folders(command("list", "a line for each run"))
    compare = command("compare", "settings and results in which two runs differ")
    for name in ("a", "b"):
        compare.add_argument(name, type=Path, metavar="RUN", help="the folder of its record")
    draw = command("draw", "loss and accuracy through training, as a picture")
    folders(draw)
    draw.add_argument(
        "--to", type=Path, default=Path("runs.svg"), help="the picture (default: runs.svg)"
    )
    show = command("show", "command, images, hardware and epochs of a run")
    show.add_argument("run", type=Path, metavar="RUN", help="the folder of its record")
    evaluate = command("evaluate", "what the weights of a run reach now")
    weights(evaluate)
    evaluate.add_argument(
        "--on", choices=("validation", "test"), default="validation",
        help="on which images (default: validation)",
    )  # fmt: skip
    predict = command("predict", "the likeliest class of each image, by the weights of a run")
    weights(predict)
    predict.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="PNG, JPEG, ...")
    return top


def answer(options: argparse.Namespace) -> str:
    """What a command prints."""
    # It needs the trainer, which takes seconds to import.
    from labml_ws.experiment import trained

    kind: trained.Weights = "best" if getattr(options, "best", False) else "last"
    if options.command == "list":
        return repr(listed(found(options.folders)))
    if options.command == "compare":
        return repr(compared(*(one(folder) for folder in (options.a, options.b))))
    if options.command == "draw":
        drawn(found(options.folders), options.to)
        return str(options.to)
    run = one(options.run)
    if options.command == "show":
        return shown(run)
    if options.command == "evaluate":
        loss, accuracy = trained.measured(run, options.on, kind, options.data)
        return f"{options.on} loss {loss:.4f}, {options.on} accuracy {accuracy:.2%}"
    images = trained.opened(options.images)
    shares, classes = trained.load(run, kind, options.data)(images).max(dim=1)
    return "\n".join(
        f"{file}: class {label} ({share:.1%})"
        for file, label, share in zip(options.images, classes, shares, strict=True)
    )


def one(folder: Path) -> Run:
    if not (folder / "config.json").exists():
        raise RecordError(f"expected a folder with the record of a run, got {folder}")
    return Run(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    ## The command line

    Returns the exit code: 0, or 2 where something is not there, with a sentence about it.
    """
    try:
        print(answer(parser().parse_args(arguments)))
    except (RecordError, DataError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
