"""Convert networks that we didn't write, and list what was converted, what was left, and why: `build/networks.md`.

They come from timm, with random weights. timm imports torchvision for its data pipeline, and a torchvision from PyPI does not load beside a
CPU build of torch; so timm is installed without it, and imported with a stand-in that is gone afterwards. No network
here uses any of it.
"""

import sys
from operator import attrgetter
from types import ModuleType
from unittest.mock import MagicMock

import torch
from torch import nn

STAND_INS = (
    *("datasets", "models", "models.feature_extraction", "ops", "ops.misc"),
    *("transforms", "transforms.functional", "utils"),
)


def timm() -> ModuleType:
    if "timm" not in sys.modules:
        vision = MagicMock(__spec__=None)
        vision.ops.misc.FrozenBatchNorm2d = type("FrozenBatchNorm2d", (nn.Module,), {})
        modules = {f"torchvision.{name}": attrgetter(name)(vision) for name in STAND_INS}
        modules["torchvision"] = vision
        sys.modules |= modules
        try:
            pass
        finally:
            for name in modules:
                del sys.modules[name]
    return sys.modules["timm"]


# As narrow and shallow as each family allows: what follows what is the same in the large ones.
NETWORKS: dict[str, dict[str, object]] = {
    "resnet18": {},
    "vgg11_bn": {},
    "vgg11": {},
    "densenet121": {},
    "efficientnet_b0": {},
    "tf_efficientnet_b0": {},
    "convnext_atto": {},
    "resnetv2_50": {"through_add": True},
    "resnetv2_50x1_bit": {"through_add": True},
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm().create_model(name, num_classes=10).eval()
