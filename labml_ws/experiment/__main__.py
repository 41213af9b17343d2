r"""
# The command line

`python -m labml_ws.experiment` trains once. [tyro](https://brentyi.github.io/tyro/) turns [the settings][labml_ws.experiment.config.Config]
into options, and the comments on them into what `--help` prints.
"""

import sys

from labml_ws.experiment import cifar10
from labml_ws.experiment.config import Config
from labml_ws.experiment.train import train

DESCRIPTION = (
    "Train a VGG on CIFAR-10 with Weight Standardization and Batch-Channel Normalization, "
    "and record the run."
)


def main(arguments: list[str] | None = None) -> int:
    """
    ## The command line

    [tyro](https://brentyi.github.io/tyro/) turns the settings into options. What a user can fix ends in one sentence
    and exit code 1, not in a traceback.
    """
    import tyro

    try:
        config = tyro.cli(
            Config,
            args=arguments,
            prog="python -m labml_ws.experiment",
            description=DESCRIPTION,
        )
        images = cifar10.load(config.data)
        row = train(config, images)
    except (cifar10.DataError, ValueError, FileExistsError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"{config.name}: test accuracy {row['test_accuracy']:.2%} after {config.epochs} epochs "
        f"in {row['seconds'] / 60:.1f} min, record in {config.folder}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
