r"""
# Validation images

Whatever is chosen by an accuracy (a learning rate, a method, the epoch to stop at) looks better on the images that it was
chosen by than it is. So a part of the *training* images is held out to choose by: each epoch is measured on these
**validation** images, and the **test** images are looked at once, when training has ended.

| images | seen in training | measured | in `metrics.jsonl` |
|---|---|---|---|
| training | yes | as it trains | `train_loss`, `train_accuracy` in each `epoch` |
| validation | no | after each epoch | `validation_loss`, `validation_accuracy` in each `epoch` |
| test | no | once, at the end | `test_loss`, `test_accuracy` in the last row, `test` |

With `--validation 0` none are held out, and each epoch is measured on the test images. The runs that were recorded before
there was a choice are of that kind.
"""

from dataclasses import replace

import torch

from labml_ws.experiment.cifar10 import Images


def split(images: Images, share: float) -> Images:
    r"""
    ## Which images

    * `images`: with training images only; `share`: of them, the part to hold out, 0 to 1
    * returns them with validation images, and so many fewer for training

    They are drawn with a seed of their own, so that they are the same for every run, whatever its `--seed`; and from each class
    in proportion, to within one image. Of CIFAR-10's 50,000, a tenth is 500 of each class.
    Raises `ValueError` if the share of so few is none, or all.
    """
    if not share:
        return images
    labels = images.train_y
    total, number = len(labels), round(share * len(labels))
    if not 0 < number < total:
        raise ValueError(
            f"expected --validation with a share of the {total} training images that is neither "
            f"none nor all of them, got {share:g}: pass --validation 0 to hold out none"
        )
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    order = order[labels[order].argsort(stable=True)]  # class by class, in each at random
    # The places where a count that grows by `number / total` reaches the next whole number.
    place = torch.arange(total + 1) * number // total
    held_out = torch.zeros(total, dtype=torch.bool)
    held_out[order] = place[1:] > place[:-1]
    return replace(
        images,
        train_x=images.train_x[~held_out],
        train_y=labels[~held_out],
        validation_x=images.train_x[held_out],
        validation_y=labels[held_out],
    )


if __name__ == "__main__":
    # ## See it work
    #
    # A tenth of the digits: how many of each class, and how many are left.
    from labml_ws.experiment import cifar10

    parts = split(cifar10.load("digits"), 0.1)
    print("held out, of each digit:", parts.validation_y.bincount().tolist())
    print(f"{len(parts.train_y)} to train on, {len(parts.validation_y)} to choose by, ", end="")
    print(f"{len(parts.test_y)} to test")
