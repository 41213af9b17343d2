"""The variants do what their page says, and nothing else."""

import json

import pytest
import torch
from torch import nn

from labml_ws import Conv2d, Linear
from labml_ws.experiment.ablations import VARIANTS, Driven, VariantConv2d
from labml_ws.experiment.config import Config, build
from labml_ws.experiment.measure import snapshot
from labml_ws.experiment.vgg import VGG, scaled

EPS = 1e-3
W = (
    torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    + 0.5
)
MEAN = W.mean((1, 2, 3), keepdim=True)
VAR = W.var((1, 2, 3), correction=0, keepdim=True)
EXPECTED = {
    "center": W - MEAN,
    "scale": W / (VAR + EPS).sqrt(),
    "unbiased": (W - MEAN) / (VAR * 27 / 26 + EPS).sqrt(),
    "eps-outside": (W - MEAN) / (VAR.sqrt() + EPS),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_variant_is_its_formula(name: str) -> None:
    torch.testing.assert_close(VARIANTS[name](W, EPS), EXPECTED[name])
    layer = VariantConv2d(3, 4, 3, bias=False, eps=EPS, variant=name).double()
    layer.load_state_dict({"weight": W})
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), nn.functional.conv2d(x, EXPECTED[name]))


def test_no_variant_is_without_a_test() -> None:
    assert set(VARIANTS) == set(EXPECTED)


def test_driven_moves_each_channel_by_a_constant_of_its_own() -> None:
    norm = nn.BatchNorm2d(200)
    driven = Driven(norm, distance=2.0, seed=3)
    x = torch.randn(3, 200, 4, 4)
    moved = driven(x) - norm(x)
    torch.testing.assert_close(moved.mean((0, 2, 3)), driven.offset, atol=1e-5, rtol=0)
    assert moved.std((0, 2, 3)).max() < 1e-5
    assert driven.offset.std() == pytest.approx(2.0, rel=0.15)
    assert not torch.equal(driven.offset, Driven(norm, 2.0, seed=4).offset)
    assert "offset" not in dict(driven.named_parameters())


def test_the_trainer_builds_each_variant() -> None:
    narrow = {"width": 1 / 16, "groups": 32}
    assert type(build(Config(**narrow)).features[0]) is Conv2d
    layer = build(Config(**narrow, variant="center")).features[0]
    assert isinstance(layer, VariantConv2d)
    assert layer.variant == "center"
    assert type(build(Config(**narrow, ws=False, variant="center")).features[0]) is nn.Conv2d
    assert isinstance(build(Config(**narrow, ws_classifier=True)).classifier, Linear)
    driven = [
        m
        for m in build(Config(**narrow, norm="bn", drive=1.0)).modules()
        if isinstance(m, Driven)
    ]
    assert len(driven) == 13
    assert not torch.equal(driven[0].offset, driven[1].offset)


def test_what_cannot_be_driven_is_refused() -> None:
    with pytest.raises(ValueError, match="expected --norm bn, gn or ln with --drive, got bcn"):
        Config(drive=1.0)


def test_a_snapshot_is_json_and_leaves_the_network_as_it_was() -> None:
    torch.manual_seed(0)
    model = VGG(scaled(1 / 16), norm=nn.BatchNorm2d)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, y = torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))
    found = json.loads(json.dumps(snapshot(model, x, x, y)))
    assert len(found["dead"]) == len(found["grad_norm"]) == len(found["centering_share"]) == 13
    assert found["channels"] == [4, 4, 8, 8, 16, 16, 16, 32, 32, 32, 32, 32, 32]
    assert found["relative_beta"] > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
