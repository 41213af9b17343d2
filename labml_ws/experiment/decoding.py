r"""
# What a row must be

A run of hours should not end at one bad row. So each image and each label is looked at before training begins, and the
first that cannot be used is named. With `--on-bad-data skip` all of them are left out, counted and named in the record.
"""

import io
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

CLASSES = 10
SKIP = "leave the row out (--on-bad-data skip)"


class DataError(RuntimeError):
    """Raised where the data cannot be loaded. The message says what was tried and what to do instead."""


def decode(
    images: Iterable[Any], labels: Iterable[Any], place: str, skip: bool = False
) -> tuple[Tensor, Tensor, list[str]]:
    """
    ## All rows

    * `images`, `labels`: the two columns; `place`: what the rows are of, in words
    * `skip`: leave out the rows that cannot be used
    * returns `uint8 [N, 3, 32, 32]`, `int64 [N]`, and for each row that was left out what was wrong with it

    Raises [`DataError`][labml_ws.experiment.decoding.DataError] for the first row that cannot be used, unless it is to be
    skipped, and where none is left.
    """
    x: list[Tensor] = []
    y: list[int] = []
    skipped: list[str] = []
    for row, (encoded, label) in enumerate(zip(images, labels, strict=True)):
        try:
            pair = pixels(encoded, f"row {row} {place}"), number(label, f"row {row} {place}")
        except DataError as error:
            if not skip:
                raise
            # The sentence without its advice.
            skipped.append(str(error).rpartition(": ")[0])
            continue
        x.append(pair[0])
        y.append(pair[1])
    if not x:
        left = f", {len(skipped)} of which cannot be used ({skipped[0]})" if skipped else ""
        raise DataError(f"expected at least one row {place}, got none{left}")
    return torch.stack(x), torch.tensor(y, dtype=torch.long), skipped


def pixels(encoded: Any, row: str) -> Tensor:
    """
    * `encoded`: a dictionary with an image's encoded `bytes`; `row`: which one it is, in words
    * returns `uint8 [3, 32, 32]`

    Raises `DataError` for one that is missing, a path, damaged or of another size.
    """
    import numpy as np
    from PIL import Image

    if encoded is None or encoded["bytes"] is None:
        what = "nothing" if encoded is None or not encoded["path"] else "a path"
        raise DataError(
            f"expected the bytes of an image in {row}, got {what}: write the images themselves "
            f"into the column img, or {SKIP}"
        )
    try:
        image = Image.open(io.BytesIO(encoded["bytes"])).convert("RGB")
    except Exception as error:
        raise DataError(
            f"expected an image such as PNG or JPEG in {row}, got {len(encoded['bytes'])} bytes "
            f"that are none ({type(error).__name__}): replace it, or {SKIP}"
        ) from error
    if image.size != (32, 32):
        raise DataError(
            f"expected images of 32x32 pixels, got {image.width}x{image.height} in {row}: "
            f"resize it, or {SKIP}"
        )
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def number(label: Any, row: str) -> int:
    """As `pixels`, for a label: a whole number from 0 to 9."""
    if type(label) is not int or not 0 <= label < CLASSES:
        raise DataError(
            f"expected a label from 0 to {CLASSES - 1}, a whole number, got {label!r} in {row}: "
            f"number the classes, or {SKIP}"
        )
    return label


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
    # Three rows: an image, a label that there is no class for, bytes that are no image.
    from PIL import Image

    Image.new("RGB", (32, 32), "red").save(buffer := io.BytesIO(), "PNG")
    images = [{"bytes": content} for content in (buffer.getvalue(), buffer.getvalue(), b"?")]
    x, y, skipped = decode(images, [3, 10, 1], "of the train images in folder tiny", skip=True)
    print(f"kept: {list(x.shape)}, labels {y.tolist()}")
    print(*skipped, sep="\n")
