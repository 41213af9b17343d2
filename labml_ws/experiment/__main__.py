r"""
# The command line

`python -m labml_ws.experiment` trains once. [tyro](https://brentyi.github.io/tyro/) turns [the settings][labml_ws.experiment.config.Config]
into options. What [`--help`][labml_ws.experiment.usage] prints is taken from the comments on them.
"""

import os
import signal
import sys
from typing import TextIO

from labml_ws.experiment import cifar10
from labml_ws.experiment.checkpoint import Stopped
from labml_ws.experiment.config import Config
from labml_ws.experiment.decoding import DataError
from labml_ws.experiment.memory import is_full
from labml_ws.experiment.processes import check_launch
from labml_ws.experiment.train import Training
from labml_ws.experiment.usage import usage

DESCRIPTION = (
    "Train a VGG on CIFAR-10 with Weight Standardization and Batch-Channel Normalization, "
    "and record the run.\n"
    "Each setting in full, with its reason: annotated/experiment.html, or labml_ws/experiment/config.py.\n"
    "What was recorded is listed, compared, drawn and used by python -m labml_ws.experiment.runs.\n\n"
    "Exit code: 0, the run is recorded; 1, it failed; 128 + signal, it was stopped and saved;\n"
    "2, the settings, the data or the folder cannot be, and nothing was run."
)
PROGRAM = "python -m labml_ws.experiment"


def main(arguments: list[str] | None = None) -> int:
    """
    ## The command line

    [tyro](https://brentyi.github.io/tyro/) turns the settings into options. What a user can fix ends in one sentence, not in
    a traceback. Returns the exit code:

    * 0: the run is recorded
    * 1: it began, and failed: the loss exploded, or a file could not be written
    * 130, 143, 129: it was stopped, by Ctrl-C, SIGTERM or SIGHUP, and has saved what it had
    * 2: it did not begin: a setting, the data or the folder cannot be (what a setting alone shows raises `SystemExit(2)`)
    """
    import tyro

    if {"-h", "--help"} & {*(sys.argv[1:] if arguments is None else arguments)}:
        print(usage(PROGRAM, DESCRIPTION))
        raise SystemExit(0)
    try:
        config = tyro.cli(
            Config,
            args=arguments,
            prog=PROGRAM,
            description=DESCRIPTION,
        )
        check_launch()
        images = cifar10.load(config.data, skip=config.on_bad_data == "skip")
        if images.skipped:
            say(
                f"skipped {len(images.skipped)} rows, the first: {images.skipped[0]}",
                sys.stderr,
            )
        training = Training(config, images)
    except (DataError, ValueError, OSError) as error:
        return fail(error, 2)
    except KeyboardInterrupt:
        say("stopped by SIGINT before the first batch", sys.stderr)
        return 128 + signal.SIGINT
    try:
        row = training.run()
    except (OSError, FloatingPointError) as error:
        return fail(error, 1)
    except (RuntimeError, MemoryError) as error:
        if not is_full(error):
            raise
        say(
            f"error: out of memory with {training.config.split[0]} images at a time: pass a smaller --micro-batch, or auto",
            sys.stderr,
        )
        return 1
    except Stopped as stop:
        say(str(stop), sys.stderr)
        return 128 + stop.signal
    except KeyboardInterrupt:
        say(
            "stopped at once by a second SIGINT: --resume goes on from the last checkpoint",
            sys.stderr,
        )
        return 128 + signal.SIGINT
    say(
        f"{config.name}: test accuracy {row['test_accuracy']:.2%} after {config.epochs} epochs "
        f"in {row['seconds'] / 60:.1f} min, record in {config.folder}"
    )
    return 0


def fail(error: Exception, code: int) -> int:
    say(f"error: {error}", sys.stderr)
    return code


# Of several processes, the first speaks.
def say(sentence: str, file: TextIO | None = None) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(sentence, file=file or sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
