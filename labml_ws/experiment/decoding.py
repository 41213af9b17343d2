r"""
# What a row must be

A run of hours should not end at one bad row. So each image and each label is looked at before training begins, and the
first that cannot be used is named.
"""

import io
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

CLASSES = 10


class DataError(RuntimeError):
    """Raised where the data cannot be loaded. The message says what was tried and what to do instead."""


def pixels(column: Iterable[Any], place: str) -> Tensor:
    """
    * `column`: for each image a dictionary with its encoded `bytes`; `place`: what the rows are of, in words
    * returns `uint8 [N, 3, 32, 32]`

    Raises [`DataError`][labml_ws.experiment.decoding.DataError] for one that is missing, a path, damaged or of another size.
    """
    import numpy as np
    from PIL import Image

    images = []
    for row, encoded in enumerate(column):
        if encoded is None or encoded["bytes"] is None:
            what = "nothing" if encoded is None or not encoded["path"] else "a path"
            raise DataError(
                f"expected the bytes of an image in row {row} {place}, got {what}: "
                "write the images themselves into the column img, or leave the row out"
            )
        try:
            image = Image.open(io.BytesIO(encoded["bytes"])).convert("RGB")
        except Exception as error:
            raise DataError(
                f"expected an image such as PNG or JPEG in row {row} {place}, got "
                f"{len(encoded['bytes'])} bytes that are none ({type(error).__name__}): replace "
                "it, or leave the row out"
            ) from error
        if image.size != (32, 32):
            raise DataError(
                f"expected images of 32x32 pixels, got {image.width}x{image.height} in row {row} "
                f"{place}: resize it"
            )
        images.append(torch.from_numpy(np.array(image)))  # [32, 32, 3]
    if not images:
        raise DataError(f"expected at least one row {place}, got none")
    return torch.stack(images).permute(0, 3, 1, 2).contiguous()


def labels(column: Iterable[Any], place: str) -> Tensor:
    """As `pixels`, for the labels: integers from 0 to 9, `int64 [N]`."""
    column = list(column)
    for row, label in enumerate(column):
        if type(label) is not int or not 0 <= label < CLASSES:
            raise DataError(
                f"expected a label from 0 to {CLASSES - 1}, a whole number, got {label!r} in row "
                f"{row} {place}: number the classes, or leave the row out"
            )
    return torch.tensor(column, dtype=torch.long)


def readable(file: str) -> None:
    """Raises [`DataError`][labml_ws.experiment.decoding.DataError] with the name of a parquet file that is damaged."""
    from pyarrow import parquet  # type: ignore[import-untyped]

    try:
        parquet.read_table(file)
    except Exception as error:
        raise DataError(
            f"could not read {file}: it is damaged, or no parquet file "
            f"({type(error).__name__}): download it again"
        ) from error


if __name__ == "__main__":
    # ## See it work
    #
    # A label that there is no class for.
    try:
        labels([3, 1, 10], "of the train images in folder tiny")
    except DataError as error:
        print(error)
