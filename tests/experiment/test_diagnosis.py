"""Why a loss exploded: the layer that is furthest out, its sizes, and the likeliest cause first."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from labml_ws.experiment import writing
from labml_ws.experiment.config import Config, build
from labml_ws.experiment.diagnosis import Size, causes, furthest, rms, sizes
from labml_ws.experiment.train import train
from tests.experiment import interrupted


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "probe", lambda config: {})
    monkeypatch.chdir(tmp_path)
    AcceleratorState._reset_state(True)
    GradientState._reset_state()


def test_sizes_are_those_of_the_weights_at_the_start_and_now_and_of_the_outputs() -> None:
    config = Config(width=1 / 16, norm="none", ws=False)
    torch.manual_seed(0)
    model = build(config)
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        model.classifier.weight *= 3
        output = model(x)
    layers = sizes(model, config, x)
    assert [layer.layer for layer in layers][-1] == "classifier"
    assert len(layers) == 14
    assert layers[-1].output == pytest.approx(rms(output))
    assert layers[-1].weight == pytest.approx(3 * layers[-1].before)
    assert all(layer.weight == layer.before for layer in layers[:-1])


def test_a_diagnosis_draws_no_random_numbers() -> None:
    config = Config(width=1 / 16)
    model = build(config)
    before = torch.get_rng_state()
    sizes(model, config, torch.zeros(2, 3, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)


FINE, GROWN = Size("a", 1.0, 1.0, 1.0), Size("b", 500.0, 1.0, 1.0)
LARGE, NONE = Size("c", 1.0, 1.0, 5e3), Size("d", float("nan"), 1.0, float("nan"))


@pytest.mark.parametrize(
    ("layers", "first"),
    [
        ([FINE, GROWN, LARGE], "b"),
        ([FINE, LARGE, GROWN], "b"),
        ([LARGE, FINE], "c"),
        ([FINE, NONE, GROWN], "d"),
        ([FINE, FINE], "a"),
    ],
)
def test_the_layer_that_is_furthest_out(layers: list[Size], first: str) -> None:
    assert furthest(layers).layer == first


@pytest.mark.parametrize(
    ("layers", "settings", "first"),
    [
        ([GROWN], {"learning_rate": 3.0}, "try a lower --learning-rate than 3.0"),
        ([LARGE], {"norm": "none"}, "try a normalization (--norm is none)"),
        ([GROWN], {"norm": "none"}, "try a lower --learning-rate than 0.00025"),
        ([GROWN], {"weight_decay": 1e5}, "try a lower --weight-decay than 100000.0"),
    ],
)
def test_the_likeliest_cause_is_first(
    layers: list[Size], settings: dict[str, Any], first: str
) -> None:
    assert causes(layers, Config(**settings))[0] == first


@pytest.mark.survives(
    "The loss explodes, finite or not",
    "it stops with the step, the layer and its sizes, the likeliest cause first; checkpoints stay",
)
@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"norm": "none", "ws": False, "learning_rate": 3e3}, "--learning-rate than 3000.0"),
        (
            {"norm": "bn", "weight_decay": 1e6, "learning_rate": 1.0},
            "--weight-decay than 1000000",
        ),
        ({"norm": "none", "learning_rate": 1e-4}, "a normalization"),
    ],
)
def test_a_run_that_explodes_says_where_and_why(settings: dict[str, Any], cause: str) -> None:
    with pytest.raises(FloatingPointError) as stop:
        train(interrupted.tiny("adam", **{"epochs": 9, **settings}), interrupted.images())
    sentence = str(stop.value)
    assert (
        f"guessing has 2.3: try a{' lower' * ('lower' in cause or '--' in cause)} " in sentence
    )
    assert cause in sentence.partition("guessing has 2.3: ")[2].partition(", or ")[0]
    row = json.loads(Path("cut/metrics.jsonl").read_text().splitlines()[-1])
    assert row["kind"] == "diverged"
    assert f"(furthest out is {row['layer']}: weights " in sentence
    assert {"weight", "before", "output"} <= row.keys()
    assert any(Path("cut/checkpoints").iterdir())
