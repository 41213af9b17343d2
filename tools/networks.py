"""Convert networks that we didn't write, and say what was converted and what was left: `build/networks.md`.

They come from timm, with random weights. timm imports torchvision for its data pipeline, and a torchvision that is built for CUDA
doesn't load beside a CPU build of torch. So timm is installed without it, and imported with a stand-in that is gone
afterwards: no network here uses any of it.
"""

import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from labml_ws import convert
from labml_ws.report import Report, Row

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
            __import__("timm")
        finally:
            for name in modules:
                del sys.modules[name]
    return sys.modules["timm"]


class UNet(nn.Module):
    """The one that is ours, as timm has none: two levels down and up again, with skip connections."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()

        def block(channels: int, out: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for c in (channels, out):
                layers += [nn.Conv2d(c, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
            return nn.Sequential(*layers)

        self.down = nn.ModuleList([block(3, 16), block(16, 32), block(32, 64)])
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)]
        )
        self.merge = nn.ModuleList([block(64, 32), block(32, 16)])
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x if not skips else F.max_pool2d(x, 2))
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([skip, up(x)], 1))
        return self.head(x)


# The smallest of each family: what follows what is the same in the large ones. With what timm is asked for, and whether
# the normalizations come behind sums.
NETWORKS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "resnet18": ("ResNet", {}, False),
    "resnetv2_50": ("ResNet, pre-activation", {}, True),
    "resnetv2_50x1_bit": ("BiT", {}, True),
    "densenet121": ("DenseNet, four layers to a block", {"block_config": (4, 4, 4, 4)}, False),
    "vgg11_bn": ("VGG with BN", {"mlp_ratio": 0.01}, False),
    "vgg11": ("VGG without", {"mlp_ratio": 0.01}, False),
    "tf_efficientnet_b0": ("EfficientNet", {}, False),
    # (Its blocks begin almost switched off, and nobody would see what is in them.)
    "convnext_atto": ("ConvNeXt", {"ls_init_value": 1.0}, False),
    "unet": ("U-Net", {}, False),
}
X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "unet":
        return UNet()
    return timm().create_model(name, num_classes=10, **NETWORKS[name][1])


def converted(name: str) -> tuple[nn.Module, Report]:
    """The network in evaluation mode, with statistics of its own, and what was done with it."""
    model = network(name)
    report = convert.standardize(model, X, through_add=NETWORKS[name][2])
    update_bn([X], model)
    return model.eval(), report


def reasons(rows: Iterable[Row]) -> str:
    """Why layers were left, with how many for each reason."""
    counts = Counter(
        f"`{row.layer}`, a subclass"
        if "subclass" in row.why
        else re.sub(r"^(\w+) follows.*", r"`\1` follows", row.why)
        for row in rows
        if row.decision == "left"
    )
    return "; ".join(f"{count}: {why}" for why, count in counts.most_common())


def row(name: str, report: Report, folded: Report) -> str:
    """What became of a network, as a row of a table."""
    norms = [row for row in folded.rows if "Norm" in row.layer]
    gone = sum(row.decision == "folded" for row in norms)
    family, _, through_add = NETWORKS[name]
    cells = (
        f"{family}, `{name}`{' with `through_add`' if through_add else ''}",
        f"{len(report)} of {len(report.rows)}",
        reasons(report.rows) or "none",
        f"{gone} of {len(norms)}" if norms else "has none",
        reasons(norms) or "none",
    )
    return f"| {' | '.join(cells)} |"


def main(target: str) -> None:
    warnings.simplefilter("ignore")
    rows = []
    for name in NETWORKS:
        model, report = converted(name)
        rows.append(row(name, report, convert.fold(model, X)))
    lines = "\n".join(rows)
    head = (
        "| network | converted | left, and why | batch norms folded | left, and why |\n"
        "|---|---|---|---|---|\n"
    )
    Path(target).write_text(f"{head}{lines}\n\ntimm {timm().__version__}, random weights.\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
