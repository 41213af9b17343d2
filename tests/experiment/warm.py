"""Imported once, by the process from which the tests fork others: all that takes a training seconds to import."""

import accelerate
import accelerate.utils
import sklearn.datasets
import torch._dynamo  # by torch's optimizers
import torch.distributed.nn.functional
import tqdm.auto
import tyro

from tests.experiment import interrupted

__all__ = ["accelerate", "interrupted", "sklearn", "torch", "tqdm", "tyro"]
interrupted.images()
