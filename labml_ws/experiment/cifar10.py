r"""
# CIFAR-10 as tensors

60,000 images of 32x32 pixels ([@krizhevsky2009learning]) are 184 MB as bytes. So they are decoded **once** and kept as `uint8` tensors, and
everything after that (cropping, flipping, scaling) is a few tensor operations on a whole batch, on whatever device the
model is on. There are no worker processes to start, and no image is decoded twice.

The data comes from one of three places, the first two through Hugging Face [datasets](https://huggingface.co/docs/datasets):

| `--data` | what | needs |
|---|---|---|
| `hub` | [uoft-cs/cifar10](https://huggingface.co/datasets/uoft-cs/cifar10) | an internet connection, the first time |
| a folder | `train*.parquet` and `test*.parquet` with the same columns, `img` and `label` | that folder |
| `digits` | scikit-learn's 1,797 handwritten digits, resized to 3x32x32 | nothing |
"""

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from labml_ws.experiment.decoding import DataError, decode, readable

HUB = "uoft-cs/cifar10"


@dataclass(frozen=True)
class Images:
    """
    ## What a data set is here

    * `train_x`, `test_x`: `uint8`, shape `[N, 3, 32, 32]`; `train_y`, `test_y`: `int64`, shape `[N]`
    * `flip`: whether a mirrored image still shows the same class (a car does, a 2 doesn't)
    * `source`: where it came from, in words
    * `skipped`: the rows that were left out, and why
    * `validation_x`, `validation_y`: [held out][labml_ws.experiment.split] of the training images, none at first
    * `fingerprint`: 16 hexadecimal digits that change with any pixel or label, for the record of a run
    """

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    source: str
    flip: bool = True
    skipped: tuple[str, ...] = ()
    validation_x: Tensor = field(default_factory=lambda: torch.zeros(0, 3, 32, 32).byte())
    validation_y: Tensor = field(default_factory=lambda: torch.zeros(0).long())

    @cached_property
    def colors(self) -> tuple[Tensor, Tensor]:
        """[Mean and standard deviation][labml_ws.experiment.cifar10.channel_stats] of the training images."""
        return channel_stats(self.train_x)

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        train, test = (self.train_x, self.train_y), (self.test_x, self.test_y)
        for tensor in (*train, *test, self.validation_x, self.validation_y):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def load(data: str = "hub", skip: bool = False) -> Images:
    """
    ## Load

    * `data`: `"hub"`, `"digits"` or a folder, as in [the table][labml_ws.experiment.cifar10]
    * `skip`: leave out the rows that cannot be used, instead of ending at the first
    * returns the [`Images`][labml_ws.experiment.cifar10.Images]

    Raises [`DataError`][labml_ws.experiment.decoding.DataError], with one sentence that says what to do, when the data cannot be
    loaded or has other columns or another size.
    """
    if data == "digits":
        return digits()
    # Imported here, so that digits, the demo and the tests need neither the package nor the second that it takes to start.
    import datasets

    datasets.disable_progress_bars()
    try:
        splits = load_from_hub() if data == "hub" else load_folder(data)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"could not load {HUB if data == 'hub' else data} ({type(error).__name__}): pass "
            "--data DIR for a folder with CIFAR-10's parquet files, or --data digits for the "
            "small data set that needs no download"
        ) from error
    return decoded(
        splits,
        source=f"{HUB} on the Hugging Face hub"
        if data == "hub"
        else f"folder {Path(data).resolve().name}",
        skip=skip,
    )


# Without a connection the library retries for a minute or more before it looks into its cache. One request with a short
# timeout tells sooner; offline, a data set that was downloaded before still loads.
def load_from_hub() -> Any:
    import datasets
    from huggingface_hub import HfApi

    offline = datasets.config.HF_HUB_OFFLINE
    try:
        HfApi().dataset_info(HUB, timeout=10)
    except Exception:
        datasets.config.HF_HUB_OFFLINE = True
    try:
        return datasets.load_dataset(HUB)
    finally:
        datasets.config.HF_HUB_OFFLINE = offline


# A folder has the hub's own files, or others of that schema.
def load_folder(folder: str) -> Any:
    import datasets
    from pyarrow import parquet  # type: ignore[import-untyped]

    files = {
        split: sorted(str(path) for path in Path(folder).glob(f"{split}*.parquet"))
        for split in ("train", "test")
    }
    if not all(files.values()):
        found = [f"only {split}*.parquet" for split in files if files[split]]
        raise DataError(
            f"expected train*.parquet and test*.parquet in {folder}, "
            f"found {' and '.join(found) or 'neither'}: "
            "pass --data DIR with a folder that holds both, or --data digits"
        )
    try:
        return datasets.load_dataset("parquet", data_files=files)
    except Exception as error:
        for file in itertools.chain(*files.values()):
            readable(file)
        for split, paths in files.items():
            if not sum(parquet.read_metadata(path).num_rows for path in paths):
                raise DataError(
                    f"expected at least one row in {split}*.parquet of {folder}, got none"
                ) from error
        raise


def decoded(splits: Any, source: str, skip: bool = False) -> Images:
    """
    ## Decode once

    * `splits`: data sets under the keys `train` and `test`; `source`: where they came from, in words; `skip`: as above

    The decoded tensors are cached beside the library's own files. The names of those files change with the data, so
    they are the key. The cache is written under another name and then renamed, so an interrupted run leaves no
    half-written file under its name. Raises [`DataError`][labml_ws.experiment.decoding.DataError] with the row for an
    image or a label that cannot be.
    """
    import datasets
    from safetensors import safe_open
    from safetensors.torch import save_file

    files = [
        file["filename"] for split in ("train", "test") for file in splits[split].cache_files
    ]
    key = hashlib.sha256("\n".join(["3", *["skip"][:skip], *files]).encode()).hexdigest()[:16]
    cache = Path(datasets.config.HF_DATASETS_CACHE) / "labml_ws" / f"{key}.safetensors"
    if not cache.exists():
        tensors, skipped = dict[str, Tensor](), list[str]()
        for split in ("train", "test"):
            columns = splits[split].column_names
            if not {"img", "label"} <= set(columns):
                raise DataError(
                    f"expected the columns img and label in {source}, got {columns}: "
                    f"rename them to match {HUB}"
                )
            place = f"of the {split} images in {source}"
            # A parquet file need not say that its bytes are images. Nor are they decoded by the library, which opens what
            # file or address a row names.
            column = splits[split].cast_column("img", datasets.Image(decode=False))["img"]
            x, y, left = decode(column, splits[split]["label"], place, skip)
            tensors |= {f"{split}_x": x, f"{split}_y": y}
            skipped += left
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(f".{os.getpid()}")
        try:
            save_file(tensors, partial, {"skipped": json.dumps(skipped)})
            partial.replace(cache)
        finally:
            partial.unlink(missing_ok=True)
    with safe_open(cache, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        skipped = json.loads(file.metadata()["skipped"])
    x = tensors["train_x"]
    gray = all(torch.equal(x[:, 0], x[:, channel]) for channel in (1, 2))
    return Images(
        tensors["train_x"],
        tensors["train_y"],
        tensors["test_x"],
        tensors["test_y"],
        f"{source}, all of them gray" if gray else source,
        skipped=tuple(skipped),
    )


def digits() -> Images:
    """
    ## Digits, for when there is no network

    8x8 gray images, enlarged to 32x32 and repeated over three channels, so that the same network takes them. Every
    fifth image is for testing.
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    x = torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1) / 16  # [N, 1, 8, 8], 0 to 1
    x = F.interpolate(x, size=32, mode="bilinear").expand(-1, 3, -1, -1)  # [N, 3, 32, 32]
    x, y = (x * 255).round().to(torch.uint8), torch.tensor(raw.target, dtype=torch.long)
    test = torch.arange(len(y)) % 5 == 0
    return Images(
        x[~test], y[~test], x[test], y[test], source="scikit-learn digits, resized", flip=False
    )


# The same images for every seed: what differs between two seeds is then initialization, order and augmentation.
def subset(images: Images, number: int) -> Images:
    if not number:
        return images
    if number > len(images.train_y):
        raise ValueError(
            f"expected --train-images of at most {len(images.train_y)}, got {number}"
        )
    keep = torch.randperm(len(images.train_y), generator=torch.Generator().manual_seed(0))
    keep = keep[:number]
    return replace(images, train_x=images.train_x[keep], train_y=images.train_y[keep])


def channel_stats(x: Tensor) -> tuple[Tensor, Tensor]:
    """
    Mean and standard deviation of each color over a data set, `uint8 [N, 3, H, W]`, in units of full brightness (255):
    two tensors of shape `[3, 1, 1]`. Counting the 256 levels gives them exactly, without a float copy of all images.
    """
    counts = torch.stack(
        [torch.bincount(channel.flatten(), minlength=256) for channel in x.transpose(0, 1)]
    ).double()
    levels = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum(dim=1, keepdim=True)  # [3, 256]
    mean = share @ levels
    var = (share * (levels - mean[:, None]).square()).sum(dim=1)
    return mean.float().view(3, 1, 1), var.sqrt().float().view(3, 1, 1)


def normalize(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """
    Bytes to floats with mean zero and variance one per color over the data set that `mean` and `std` come from:
    `uint8 [B, 3, H, W]` -> `float32`, the same shape.
    """
    return (x.float() / 255 - mean) / std


def augment(
    x: Tensor,
    generator: torch.Generator,
    padding: int = 4,
    flip: bool = True,
    part: tuple[int, int] = (0, 1),
) -> Tensor:
    r"""
    ## Crop and flip, all at once

    The usual augmentation: pad by four pixels, cut out a window of the old size at random, mirror with probability one
    half. It is done with indices rather than in a loop over images: `rows` and `columns` say which rows and
    columns of each padded image are kept.

    * `x`: floats, `[B, 3, H, W]`, normalized, so that the zero padding is the average color
    * `generator`: where the randomness comes from, on the device of `x`
    * `padding`: pixels on each side
    * `flip`: whether to mirror at all
    * `part`: which part of a batch `x` is, and of how many equal ones; the random numbers are those of the whole batch
    * returns a new tensor of the same shape
    """
    batch, _, height, width = x.shape
    padded = F.pad(x, (padding,) * 4)
    index, parts = part
    mine = slice(index * batch, (index + 1) * batch)
    top, left = torch.randint(
        2 * padding + 1, (2, batch * parts, 1), generator=generator, device=x.device
    )[:, mine]  # [B, 1] each
    rows = top + torch.arange(height, device=x.device)  # [B, H]
    columns = left + torch.arange(width, device=x.device)  # [B, W]
    if flip:
        mirrored = (
            torch.rand(batch * parts, 1, generator=generator, device=x.device)[mine] < 0.5
        )
        columns = torch.where(mirrored, columns.flip(1), columns)
    image = torch.arange(batch, device=x.device)  # [B], the number of an image in its batch
    # Advanced indices on both sides of the channel dimension put it last, so it is moved back.
    return (
        padded[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        .permute(0, 3, 1, 2)
        .contiguous()
    )


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """
    ## Batches

    A data set that is asked for all images of a batch at once (`__getitems__`), instead of one by one, to
    be stacked again.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        rows = torch.as_tensor(indices)
        return self.x[rows], self.y[rows]


# With a seed, for training: shuffled, and full batches only. Without one, for testing: in order, and every image. The
# order is drawn from a generator of its own, so that it depends on the seed alone and not on what else used random
# numbers.
def loader(
    x: Tensor, y: Tensor, batch_size: int, seed: int | None = None
) -> DataLoader[tuple[Tensor, Tensor]]:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return DataLoader(
        Batches(x, y),
        batch_size,
        shuffle=seed is not None,
        drop_last=seed is not None,
        generator=generator,
        collate_fn=lambda batch: batch,
    )


if __name__ == "__main__":
    # ## See it work
    #
    # The digits, which need no download: one augmented batch.
    images = load("digits")
    mean, std = channel_stats(images.train_x)
    x, y = next(iter(loader(images.train_x, images.train_y, batch_size=64, seed=0)))
    x = augment(normalize(x, mean, std), torch.Generator().manual_seed(0), flip=images.flip)
    train, test = len(images.train_y), len(images.test_y)
    print(f"{train} training and {test} test images from {images.source}")
    print(f"a batch: {list(x.shape)}, mean {x.mean():+.2f}, std {x.std():.2f}", end="")
    print(f", labels {y[:8].tolist()}")
