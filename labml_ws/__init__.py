"""Weight Standardization and Batch-Channel Normalization in PyTorch, annotated: the module beside each page of the site."""

from labml_ws.batch_channel_norm import BatchChannelNorm, ChannelNorm, EstimatedBatchNorm
from labml_ws.layers import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Linear
from labml_ws.standardization import weight_standardization
from labml_ws.vgg import VGG

__all__ = [
    "VGG",
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
