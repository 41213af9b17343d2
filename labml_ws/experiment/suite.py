"""
# The list of runs

Every number about training on this site comes from one of these runs. `make results` does those that have no record yet,
and so does `python -m labml_ws.experiment.suite [EXPERIMENT ...]`.

Each experiment is a list of runs, each run a command line of `labml_ws.experiment` with a folder of its own under
`docs/runs`. A run that has its record is skipped and an unfinished one goes on from its last checkpoint, so this can be
interrupted and called again at any time. Runs use one thread each, which makes them repeatable to the last digit; as many
as there are cores go side by side.

The first runs were recorded before the trainer held out [validation images](cifar10.md#labml_ws.experiment.split), and before it updated
weights by a fused kernel, so their commands now say that they did neither.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import torch
from safetensors.torch import load_file

from labml_ws.experiment import cifar10
from labml_ws.experiment.config import build
from labml_ws.experiment.landscape import loss_surface
from labml_ws.experiment.record import RecordError, Run, check, rounded
from labml_ws.experiment.split import split

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "docs" / "runs"
SEEDS = (0, 1, 2)

NETS = {
    "none": "--no-ws --norm none",
    "bn": "--no-ws --norm bn",
    "gn": "--no-ws --norm gn",
    "ln": "--no-ws --norm ln",
    "bcn": "--no-ws --norm bcn --no-estimate",
    "ws-none": "--norm none",
    "ws-bn": "--norm bn",
    "ws-gn": "--norm gn",
    "ws-bcn": "--norm bcn",
    "bcn-estimates": "--no-ws --norm bcn",
    "ws-bcn-batch": "--norm bcn --no-estimate",
    "center-gn": "--norm gn --variant center",
    "scale-gn": "--norm gn --variant scale",
    "unbiased-gn": "--norm gn --variant unbiased",
    "eps-outside-gn": "--norm gn --variant eps-outside",
    "ws-gn-ws-classifier": "--norm gn --ws-classifier",
}
SWEPT = ("bn", "gn", "ln", "ws-gn", "bcn", "ws-bcn")
COMPARED = ("none", *SWEPT, "ws-bn", "center-gn", "scale-gn")

# All at their own rates: BCN four times, with WS and without, with the batch's statistics and with estimates.
TUNED = (
    *("none", "bn", "gn", "ln", "ws-gn", "ws-bn"),
    *("bcn", "bcn-estimates", "ws-bcn-batch", "ws-bcn"),
)
RATES = (0.003, 0.006, 0.0125, 0.025, 0.05, 0.1)

# What the runs were like that had no choice yet.
OLD = "--validation 0 --no-fused"
# What all small runs share: two cores can do it honestly, and every method trains long enough to be told apart.
SMALL = (
    "--width 0.25 --train-images 8000 --epochs 4 "
    "--optimizer sgd --schedule one-cycle --threads 1"
)
# The learning rate at a batch of 64, for every method; in proportion to the batch elsewhere.
RATE = 0.025

# The share of a single image in WS + BCN's running estimates; 0.1 is in batches.
MOMENTA = (0.001, 0.01, 0.03, 0.3)


def small(net: str, seed: int, batch: int = 64, rate: float = RATE, more: str = "") -> str:
    return f"{tuned(net, seed, batch, rate, more)} {OLD}"


def tuned(net: str, seed: int, batch: int, rate: float, more: str = "") -> str:
    """One small run with validation images: the rate is that at a batch of 64."""
    settings = f"{NETS[net]} {SMALL} --batch-size {batch} --learning-rate {rate * batch / 64:g}"
    return f"{settings} --seed {seed} {more}".strip()


def runs() -> Iterator[tuple[str, str]]:
    """
    ## The list

    Returns the folder of each run and its command line, experiments in the order in which they are wanted.
    """
    yield (
        "digits/smallest",
        f"--data digits --width 0.0625 --epochs 1 --threads 1 --measure 15 {OLD}",
    )
    yield "full-width", f"--epochs 3 {OLD}"
    yield (
        "quarter-width",
        "--width 0.25 --no-estimate --groups 8 --epochs 30 --learning-rate 3e-3 "
        f"--schedule one-cycle --half-weights {OLD}",
    )
    for rate in (0.0125, 0.025, 0.05, 0.2):
        for net in SWEPT:
            yield f"rates/{net}-rate{rate:g}", small(net, 0, rate=rate)
    for seed in SEEDS:
        for net in COMPARED:
            yield f"methods/{net}-seed{seed}", small(net, seed, more="--measure 100")
    for seed in SEEDS:
        for drive in (1, 2, 4):
            more = f"--drive {drive} --measure 250"
            yield f"driven/bn-drive{drive}-seed{seed}", small("bn", seed, more=more)
    for seed in SEEDS:
        for net in ("ws-none", "unbiased-gn", "eps-outside-gn", "ws-gn-ws-classifier"):
            yield f"conventions/{net}-seed{seed}", small(net, seed)
    for seed in SEEDS:
        for batch in (16, 4, 1, 8, 2):  # 64 is in methods
            for net in SWEPT:
                yield f"batches/{net}-batch{batch}-seed{seed}", small(net, seed, batch)
    for seed in SEEDS:
        for momentum in MOMENTA:
            name = f"estimates/ws-bcn-momentum{momentum:g}-seed{seed}"
            yield name, small("ws-bcn", seed, 1, more=f"--momentum {momentum:g}")
    yield from tuning()


def tuning() -> Iterator[tuple[str, str]]:
    """
    ### Rates per method

    Of each method its own rate, at a batch of 64 and at 1, to be chosen by [the accuracy on validation
    images][labml_ws.experiment.record.Run.validation]; the grid is to hold the best of each in its inside. At batches of one,
    estimates move [slowly](../tutorials/micro_batches.md#how-fast-should-an-estimate-move). Some four and a half hours of two cores.
    """
    for batch in (64, 1):
        for rate in RATES:
            for net in TUNED:
                slow = (
                    "--momentum 0.01"
                    if batch == 1 and net in ("bcn-estimates", "ws-bcn")
                    else ""
                )
                yield (
                    f"tuning/{net}-batch{batch}-rate{rate:g}",
                    tuned(net, 0, batch, rate, slow),
                )


# Runs whose end is looked at once more, in two directions: with and without WS.
SURFACES = tuple(f"methods/{net}-seed0" for net in ("gn", "ws-gn", "bn", "ws-bn"))


def surface(folder: Path, data: str) -> None:
    """The loss around the final weights, on the first 500 images that the run was trained on: `surface.json`."""
    config = Run(folder).config
    torch.set_num_threads(1)
    images = split(cifar10.load(data), config.validation)
    images = cifar10.subset(images, config.train_images)
    model = build(config).train()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    x = cifar10.normalize(images.train_x[:500], *cifar10.channel_stats(images.train_x))
    radius, points = 1.0, 17
    losses = loss_surface(model, x, images.train_y[:500], radius, points)
    found = {"radius": radius, "images": len(x), "losses": rounded(losses.tolist())}
    (folder / "surface.json").write_text(json.dumps(found) + "\n")


# The weights that a page opens.
KEPT = "quarter-width"


def run(name: str, settings: str) -> str:
    """
    ## One run

    * `name`, `settings`: its folder and its command line; `DATA` and `NOTE` of the environment say where CIFAR-10 lies, and
      what is to be remarked on it
    * returns its last line of output. What it took of weights and surfaces is kept where a page shows it

    Raises `RuntimeError` where no whole record came out.
    """
    folder = RUNS / name
    command = [sys.executable, "-m", "labml_ws.experiment", *shlex.split(settings)]
    command += ["--tracker", "none"]
    data, note = os.environ.get("DATA"), os.environ.get("NOTE")
    if "--data" not in settings:
        command += [*(["--data", data] if data else []), *(["--note", note] if note else [])]
    out = folder.relative_to(ROOT).as_posix()
    start = time.perf_counter()
    if any((folder / "checkpoints").glob("step-*")):
        command.append("--resume")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run([*command, "--out", out], cwd=ROOT, capture_output=True, text=True)
    if not Run(folder).finished:
        raise RuntimeError(f"{name}: {done.stderr.strip()[-1000:] or 'no record was written'}")
    if name in SURFACES:
        surface(folder, data or "hub")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # of one that diverged
    if name != KEPT:
        for weights in folder.glob("*.safetensors"):
            weights.unlink()
    last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]
    return f"{name}: {time.perf_counter() - start:.0f} s, {last}"


def record(missing: dict[str, str], jobs: int) -> list[str]:
    """Does what is missing, `jobs` of them at a time; returns what went wrong."""
    problems = []
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run, *item) for item in missing.items()]
        try:
            for number, future in enumerate(as_completed(futures), 1):
                try:
                    print(f"[{number}/{len(missing)}] {future.result()}", flush=True)
                except RuntimeError as error:
                    problems.append(str(error))
                    print(error, file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return problems


def pack(target: Path) -> None:
    """
    ## All of them in one file

    * `target`: the archive that [`records`][labml_ws.experiment.record.records] finds beside a notebook. Equal records give
      equal bytes
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        files = [path for path in RUNS.rglob("*") if path.is_file()]
        for path in sorted(path for path in files if "checkpoints" not in path.parts):
            entry = zipfile.ZipInfo(path.relative_to(RUNS).as_posix())  # of 1980
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def main() -> int:
    """
    ## The command line

    Says first what is there, and whether this code still computes the same ([check][labml_ws.experiment.record.check]).
    """
    parser = argparse.ArgumentParser(
        description="Run the recorded experiments that have no record yet."
    )
    add = parser.add_argument
    add(
        "experiments", nargs="*", help="rates, methods, ..., or rates/bn-rate0.05; default: all"
    )
    add("--jobs", type=int, default=os.cpu_count() or 1, help="runs side by side")
    add("--list", action="store_true", help="only say what is there and what is missing")
    add("--pack", type=Path, metavar="FILE", help="run nothing; check all and pack them")
    options = parser.parse_args()
    chosen = {*options.experiments}
    wanted = {n: s for n, s in runs() if not chosen or {n, n.split("/")[0]} & chosen}
    if not wanted:
        known = ", ".join(dict.fromkeys(name.split("/")[0] for name, _ in runs()))
        parser.error(f"expected experiments among {known}, got {' '.join(options.experiments)}")
    missing = {name: wanted[name] for name in wanted if not Run(RUNS / name).finished}
    if not options.pack:
        print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are recorded.", flush=True)
    problems = []
    try:
        check([Run(RUNS / name) for name in wanted if name not in missing])
    except RecordError as error:
        problems.append(str(error))
    if options.list:
        for name, settings in missing.items():
            print(f"{name}: python -m labml_ws.experiment {settings}")
    elif options.pack and not problems:
        pack(options.pack)
    elif not options.pack:
        problems += record(missing, options.jobs)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
