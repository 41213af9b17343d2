"""Weight Standardization and Batch-Channel Normalization in PyTorch; every module is a page of the annotated site.

What a model needs is here, and needs nothing but torch. The study of what it does, with the VGG and the trainer, is
`labml_ws.experiment`. A module runs its demo as a file: `python labml_ws/layers.py`.
"""

from labml_ws.batch_channel_norm import BatchChannelNorm, ChannelNorm, EstimatedBatchNorm
from labml_ws.layers import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Linear,
)
from labml_ws.standardization import weight_standardization

__all__ = [
    "BatchChannelNorm",
    "ChannelNorm",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "EstimatedBatchNorm",
    "Linear",
    "weight_standardization",
]
