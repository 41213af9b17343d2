"""Weight Standardization and Batch-Channel Normalization in PyTorch; every module is a page of the annotated site."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from labml_ws.once import standardize_once
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
    "standardize_once",
    "weight_standardization",
]


# A name is imported when it is first asked for. Importing all of them here would load `labml_ws.layers` before
# `python -m labml_ws.layers` runs it, and Python warns of a module that exists twice.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in ("standardization", "layers", "once", "batch_channel_norm", "vgg"):
        found = getattr(import_module(f"{__name__}.{module}"), name, None)
        if found is not None:
            globals()[name] = found
            return found
    raise AssertionError(f"{name} is in __all__ and in no module")  # pragma: no cover


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
