"""Whatever the settings: they train a step, or are refused in one sentence. No traceback, ever."""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from hypothesis import given, settings
from hypothesis import strategies as st

from labml_ws.experiment import cifar10, writing
from labml_ws.experiment.__main__ import main
from labml_ws.experiment.cifar10 import Images
from labml_ws.experiment.config import Config
from tests.experiment import interrupted

ODD = [math.nan, math.inf, -math.inf, -1.0, 0.0]
# For every setting what may be drawn: mostly what is sensible, so that many draws train, and what is not.
DRAWN: dict[str, st.SearchStrategy[Any]] = {
    "ws": st.booleans(),
    "norm": st.sampled_from(["bcn", "bn", "gn", "ln", "none"]),
    "estimate": st.booleans(),
    "momentum": st.sampled_from([0.1, 0.0, 1.0, 0.01, *ODD]),
    "groups": st.sampled_from([32, 16, 1, 2, 7, 0, -3, 10**9]),
    "variant": st.sampled_from(["paper", "center", "scale", "unbiased", "eps-outside"]),
    "ws_classifier": st.booleans(),
    "drive": st.sampled_from([0.0, 1.0, *ODD]),
    "width": st.sampled_from([1 / 16, 1 / 32, 1e-9, 1e9, 17.0, *ODD]),
    "data": st.sampled_from(["digits", "nowhere", ""]),
    "on_bad_data": st.sampled_from(["stop", "skip"]),
    "validation": st.sampled_from([0.0, 0.25, 1.0, *ODD]),
    "train_images": st.sampled_from([0, 8, 16, 1, -1, 10**9]),
    "epochs": st.sampled_from([1, 0, -2]),
    "batch_size": st.sampled_from([8, 4, 1, 16, 0, -8, 10**12]),
    "accumulate": st.sampled_from([1, 2, 7, 0, -1, 10**12]),
    "micro_batch": st.sampled_from([0, 1, 4, 3, -1, 10**12, "auto"]),
    "optimizer": st.sampled_from(["adam", "sgd"]),
    "learning_rate": st.sampled_from([1e-3, 1e-30, 1e30, *ODD]),
    "weight_decay": st.sampled_from([0.0, 0.1, 1e30, *ODD]),
    "schedule": st.sampled_from(["constant", "one-cycle"]),
    "cycle_momentum": st.booleans(),
    "fused": st.booleans(),
    "seed": st.sampled_from([0, 1, 2**32 - 1, 2**32, -1, 10**30]),
    "mixed_precision": st.sampled_from(["no", "bf16", "fp16"]),
    "threads": st.sampled_from([1, 0, 100_000, -1]),
    "measure": st.sampled_from([0, -1]),
    "half_weights": st.booleans(),
    "resume": st.booleans(),
    "checkpoint_steps": st.sampled_from([0, 1, 3, -1]),
    "checkpoint_minutes": st.sampled_from([0.0, 1e-9, *ODD]),
    "checkpoints": st.sampled_from([1, 2, 0, -1, 10**9]),
    "note": st.text(max_size=9),
}
# Those that a test must not draw: it stays on the CPU, in a folder of its own, and calls no tracker.
HELD = {"cpu", "out", "tracker"}


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    """Sixteen images, in the place of the digits."""
    few = interrupted.images()
    few = replace(
        few, train_x=few.train_x[:16], train_y=few.train_y[:16], test_x=few.test_x[:4]
    )
    few = replace(few, test_y=few.test_y[:4])
    load, threads = cifar10.load, torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "probe", lambda config: {})
        patch.setattr(
            cifar10,
            "load",
            lambda data, **more: few if data == "digits" else load(data, **more),
        )
        yield few
    torch.set_num_threads(threads)


def words(chosen: dict[str, Any]) -> list[str]:
    """As they are typed."""
    typed = []
    for name, value in chosen.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            typed.append(f"--{option}" if value else f"--no-{option}")
        else:
            typed += [f"--{option}", str(value)]
    return typed


def test_every_setting_is_drawn() -> None:
    settings_drawn = DRAWN.keys() | HELD | {"cpu"}
    assert {field.name for field in fields(Config)} - settings_drawn == set()


# Four settings at most are drawn: of more, one would nearly always be refused. The others are these, or the defaults.
FINE = {"data": "digits", "width": 1 / 16, "epochs": 1, "batch_size": 8, "groups": 32}
FINE |= {"learning_rate": 1e-3, "threads": 1, "validation": 0.0}


@st.composite
def some(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from([*DRAWN]), min_size=1, max_size=4, unique=True))
    return {name: draw(DRAWN[name]) for name in names}


@pytest.mark.slow
@pytest.mark.survives(
    "Any settings (Hypothesis draws them, `nan`, `inf`, negative, huge)",
    "they train, or are refused in one sentence",
)
def test_any_settings_train_or_are_refused_in_a_sentence(
    images: Images, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    codes: list[int] = []

    @settings(max_examples=80, deadline=None, derandomize=True, database=None)
    @given(some())
    def trains_or_is_refused(drawn: dict[str, Any]) -> None:
        AcceleratorState._reset_state(True)
        GradientState._reset_state()
        chosen = FINE | drawn
        with TemporaryDirectory() as folder:
            try:
                code: Any = main(
                    [*words(chosen), "--cpu", "--tracker", "none", "--out", f"{folder}/run"]
                )
            except SystemExit as stop:
                code = stop.code
            said = capsys.readouterr()
            assert code in (0, 1, 2), chosen
            assert "Traceback" not in said.err + said.out
            if code == 0:
                assert (Path(folder) / "run" / "model.safetensors").exists()
            elif code == 1:
                # It began, and its numbers exploded.
                assert "guessing has 2.3" in said.err, (chosen, said.err)
            else:
                assert "expected" in said.err or "could not load" in said.err, (
                    chosen,
                    said.err,
                )
        codes.append(code)

    trains_or_is_refused()
    # Neither of them always.
    assert min(codes.count(0), codes.count(2)) >= 10, codes
