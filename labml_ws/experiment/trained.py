r"""
# What was trained

The network of a [record](record.md), with its weights: measured again, or shown an image.

```python
trained = load(Run(Path("runs/ws-bcn-width1-batch64-seed0")))
labels = trained(x).argmax(dim=1)  # x: uint8 [B, 3, 32, 32]
```
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from labml_ws.experiment import cifar10
from labml_ws.experiment.config import build
from labml_ws.experiment.record import RecordError, Run
from labml_ws.experiment.split import split
from labml_ws.experiment.train import evaluate
from labml_ws.experiment.writing import BEST, LAST

Weights = Literal["last", "best"]


@dataclass(frozen=True)
class Trained:
    """
    ## The network and its colors

    * `model`: in evaluation mode
    * `mean`, `std`: of the training images, `[3, 1, 1]`
    """

    model: nn.Module
    mean: Tensor
    std: Tensor

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """Probabilities of the ten classes, `[B, 10]`, of images `uint8 [B, 3, 32, 32]`."""
        return self.model(cifar10.normalize(x, self.mean, self.std)).softmax(dim=1)


def load(run: Run, weights: Weights = "last", data: str = "") -> Trained:
    """
    ## From a record

    * `run`: whose; `weights`: those after the `last` epoch, or after the one that was `best` on the validation images
    * `data`: where its images are, for a record that doesn't say what their colors are on average

    Raises [`RecordError`][labml_ws.experiment.record.RecordError] where the record holds no such weights.
    """
    from safetensors.torch import load_file

    file = run.folder / {"last": LAST, "best": BEST}[weights]
    if not file.exists():
        held = ", ".join(sorted(path.name for path in run.folder.glob("*.safetensors")))
        raise RecordError(f"expected {file.name} in {run.folder}, found {held or 'no weights'}")
    model = build(run.config)
    model.load_state_dict(load_file(file))
    if colors := run.about.get("colors"):
        mean, std = (torch.tensor(colors[name]).view(3, 1, 1) for name in ("mean", "std"))
    else:
        mean, std = images(run, data).colors
    return Trained(model.eval(), mean, std)


def images(run: Run, data: str = "") -> cifar10.Images:
    """
    ## The images of a run

    * `data`: where they are now, if not where the record says
    * returns them parted as they were in the run

    Raises `ValueError` if they are others.
    """
    config = run.config
    parts = split(cifar10.load(data or config.data), config.validation)
    parts = cifar10.subset(parts, config.train_images)
    if parts.fingerprint != run.about["data"]["fingerprint"]:
        raise ValueError(
            f"expected the images of the run ({run.about['data']}), got others from "
            f"{parts.source}: pass --data with where they are"
        )
    return parts


def measured(
    run: Run,
    part: Literal["validation", "test"],
    weights: Weights = "last",
    data: str = "",
) -> tuple[float, float]:
    """
    ## Measured again

    * `part`: on which images; `weights`, `data`: as above
    * returns the mean cross-entropy (nats) and the accuracy (0 to 1)

    Raises `ValueError` where the run has no such images.
    """
    parts = images(run, data)
    x, y = getattr(parts, f"{part}_x"), getattr(parts, f"{part}_y")
    if not len(y):
        raise ValueError(f"expected a run with {part} images, and {run.folder} held out none")
    trained = load(run, weights, data)
    return evaluate(trained.model, cifar10.loader(x, y, 500), trained.mean, trained.std)


def opened(files: Sequence[Path]) -> Tensor:
    """
    ## Images from files

    * `files`: PNG, JPEG, ..., of any size
    * returns them in that of the network, `uint8 [N, 3, 32, 32]`

    Raises `ValueError` with the name of one that is no image.
    """
    import numpy as np
    from PIL import Image

    pixels = []
    for file in files:
        try:
            image = Image.open(file).convert("RGB").resize((32, 32), Image.Resampling.BOX)
        except OSError as error:
            raise ValueError(
                f"expected an image such as PNG or JPEG, got {file} ({error})"
            ) from error
        pixels.append(torch.from_numpy(np.array(image)))  # [32, 32, 3]
    return torch.stack(pixels).permute(0, 3, 1, 2).contiguous()


if __name__ == "__main__":
    # ## See it work
    #
    # A run of seconds, whose weights are loaded, measured and asked.
    from contextlib import redirect_stdout
    from io import StringIO
    from tempfile import TemporaryDirectory

    from labml_ws.experiment.config import Config
    from labml_ws.experiment.train import train

    with TemporaryDirectory() as temporary, redirect_stdout(StringIO()):
        config = Config(
            data="digits", width=1 / 16, epochs=1, learning_rate=3e-3, cpu=True, threads=1,
            tracker="none",
            out=Path(temporary) / "run",
        )  # fmt: skip
        digits = cifar10.load("digits")
        row = train(config, digits)
        run = Run(config.folder)
        again, trained = measured(run, "test"), load(run)
    print(f"test accuracy: {row['test_accuracy']:.2%} in the record, {again[1]:.2%} again")
    probabilities, labels = trained(digits.test_x[:6]).max(dim=1)
    print("seen:", labels.tolist(), "written:", digits.test_y[:6].tolist())
