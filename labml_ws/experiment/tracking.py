r"""
# Watching a run

A run always writes [`metrics.jsonl`](record.md), one line at a time, and everything on this site is made from that. To watch it
while it trains, have a **tracker** show the same numbers, through [Accelerate](https://huggingface.co/docs/accelerate):

| `--tracker` | where it shows | needs |
|---|---|---|
| `auto` | in TensorBoard where that is installed, otherwise nowhere | |
| `tensorboard` | `tensorboard --logdir runs`, from a folder in that of the run | `tensorboard` |
| `wandb`, `trackio` | where they do, as their own settings say (`WANDB_MODE=offline`) | the package of that name |
| `none` | nowhere | |
"""

from importlib.util import find_spec
from typing import Any, Literal

Tracker = Literal["auto", "tensorboard", "wandb", "trackio", "none"]
# The folder in that of the run.
FOLDER = "tensorboard"


def chosen(tracker: Tracker) -> str | None:
    """
    * `tracker`: the setting
    * returns what Accelerate calls it, `None` for none

    Raises `ValueError` for one that is not installed.
    """
    if tracker == "none":
        return None
    if tracker == "auto":
        return FOLDER if find_spec("tensorboard") else None
    if find_spec(tracker) is None:
        raise ValueError(
            f"expected a --tracker that is installed, got {tracker}: 'pip install {tracker}', "
            "or pass --tracker none; the metrics are recorded anyway"
        )
    return tracker


def begin(accelerator: Any, name: str, settings: dict[str, Any], step: int) -> None:
    """
    ## It begins

    * `accelerator`: which was told of the tracker; `name`, `settings`: of the run
    * `step`: how many batches were seen, when the run goes on. What TensorBoard has of later ones no longer counts
    """
    if accelerator.is_main_process and accelerator.log_with:
        project = FOLDER if FOLDER in map(str, accelerator.log_with) else "labml_ws"
        options = {
            FOLDER: {"purge_step": step + 1} if step else {},
            "wandb": {"name": name, "config": settings},
            "trackio": {"name": name, "config": settings},
        }
        accelerator.init_trackers(project, init_kwargs=options)


def log(accelerator: Any, row: dict[str, Any], step: int) -> None:
    """
    ## A row of the metrics

    * `row`: its numbers are shown as `step/loss`, `epoch/validation_accuracy`, ...
    * `step`: how many batches were seen
    """
    if accelerator.is_main_process:
        numbers = {
            f"{row['kind']}/{name}": value
            for name, value in row.items()
            if isinstance(value, int | float)
        }
        for tracker in accelerator.trackers:
            tracker.log(numbers, step=step)


def end(accelerator: Any) -> None:
    """Has what was shown written out. The processes stay together."""
    if accelerator.is_main_process:
        for tracker in accelerator.trackers:
            tracker.finish()


if __name__ == "__main__":
    # ## See it work
    #
    # A tracker of one's own prints what it is told.
    from types import SimpleNamespace

    printing = SimpleNamespace(log=lambda numbers, step: print(f"after {step}: {numbers}"))
    accelerator = SimpleNamespace(is_main_process=True, trackers=[printing])
    log(accelerator, {"kind": "step", "loss": 2.31, "learning_rate": 0.025}, step=50)
    log(accelerator, {"kind": "epoch", "validation_accuracy": 0.43}, step=125)
    print("with --tracker none:", chosen("none"))
