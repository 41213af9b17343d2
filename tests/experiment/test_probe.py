"""What a record's probe notices and what it does not: behavior counts, text does not."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from labml_ws import EstimatedBatchNorm
from labml_ws.experiment import probe
from labml_ws.experiment.config import Config
from labml_ws.experiment.record import RecordError, Run, check
from labml_ws.experiment.writing import Record

# Of each kind one, and with them a measured one, a large one and one with running estimates.
NAMES = (
    "batches/gn-batch1-seed0",
    "batches/ws-gn-batch2-seed1",
    "digits/smallest",
    "estimates/ws-bcn-momentum0.03-seed0",
    "full-width",
)
TINY = Config(width=1 / 16, norm="gn", optimizer="sgd")


@pytest.fixture
def runs(root: Path) -> list[Run]:
    return [Run(root / "docs" / "runs" / name) for name in NAMES]


@pytest.fixture
def fresh() -> Iterator[None]:
    """Probes are remembered while Python runs; one of changed code is neither to be kept nor to be found."""
    for function in (probe.steps, probe.measured):
        function.cache_clear()
    yield
    for function in (probe.steps, probe.measured):
        function.cache_clear()


CHECK = """
import sys
from pathlib import Path
import labml_ws
from labml_ws.experiment.record import RecordError, Run, check, records
from labml_ws.experiment.writing import Record
assert Path(labml_ws.__file__).is_relative_to(Path.cwd()), labml_ws.__file__
try:
    check([Run(records() / name) for name in sys.argv[1:]])
except RecordError as error:
    print(error)
"""


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """A copy of the code beside the records."""
    shutil.copytree(root / "labml_ws", tmp_path / "labml_ws")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "runs").symlink_to(root / "docs" / "runs")
    return tmp_path


def complaint(project: Path) -> str:
    command = [
        sys.executable,
        "-P",
        "-c",
        f"import sys; sys.path.insert(0, '.'){CHECK}",
        *NAMES,
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def renamed(source: str) -> str:
    """Each local variable of the first function that has some gets another name; so does what the function calls them."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
        local = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        local -= {argument.arg for argument in function.args.args}
        if not local:
            continue
        lines = source.split("\n")
        for node in sorted(names, key=lambda node: (node.lineno, -node.col_offset)):
            if node.id in local:
                line = lines[node.lineno - 1].encode()
                cut = line[: node.col_offset], line[node.col_offset + len(node.id.encode()) :]
                lines[node.lineno - 1] = b"another_".join(
                    [cut[0], node.id.encode() + cut[1]]
                ).decode()
        return "\n".join(lines)
    raise AssertionError("there is nothing to rename")


@pytest.mark.slow
def test_a_renamed_variable_and_other_prose_leave_every_record_valid(project: Path) -> None:
    for name in ("standardization", "layers", "batch_channel_norm", "experiment/vgg"):
        path = project / "labml_ws" / f"{name}.py"
        text = renamed(path.read_text())
        assert text.count("another_") > 1, name
        path.write_text(f"{text}\n# A last word.\n")
    assert complaint(project) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "old", "new", "stale"),
    [
        (
            "config",
            "optimizer, rate, total_steps",
            "optimizer, 1.0001 * rate, total_steps",
            NAMES[:2] + NAMES[3:4],
        ),
        ("cifar10", "/ 255 - mean", "/ 255.01 - mean", NAMES),
        ("landscape", "theta - size * here", "theta - 1.0001 * size * here", NAMES[2:3]),
    ],
)
def test_a_changed_constant_is_refused_and_the_records_are_named(
    project: Path, module: str, old: str, new: str, stale: tuple[str, ...]
) -> None:
    path = project / "labml_ws" / "experiment" / f"{module}.py"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    message = complaint(project)
    assert f"no longer computes what {len(stale)} of 5 records hold" in message
    assert "'make results'" in message
    assert message.strip().endswith(f": {', '.join(stale)}")


def test_a_ten_thousandth_more_in_an_update_of_the_estimates_is_refused(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    check(runs[:1] + runs[3:4])
    forward = EstimatedBatchNorm.forward

    def changed(self: EstimatedBatchNorm, x: torch.Tensor) -> torch.Tensor:
        before = self.running_mean.clone()
        y = forward(self, x)
        with torch.no_grad():
            self.running_mean.add_(1e-4 * (self.running_mean - before))
        return y

    for function in (probe.steps, probe.measured):
        function.cache_clear()
    monkeypatch.setattr(EstimatedBatchNorm, "forward", changed)
    check(runs[:1])
    with pytest.raises(RecordError, match=r"1 of 2 records hold.*: estimates/ws-bcn-mom[^,]*$"):
        check(runs[:1] + runs[3:4])


def test_a_record_without_a_probe_is_refused(root: Path) -> None:
    run = Run(root / "docs" / "runs" / NAMES[0])
    run.about.pop("probe")
    with pytest.raises(
        RecordError, match=r"initial of the probe was None.*: batches/gn-batch1"
    ):
        check([run])


def test_a_new_record_carries_its_probe(tmp_path: Path) -> None:
    config = replace(TINY, data="digits", out=tmp_path / "run")
    Record(config, probe.noise(), torch.device("cpu"))
    assert Run(tmp_path / "run").about["probe"] == probe.probe(config)


def test_a_probe_leaves_random_numbers_and_the_default_type_as_they_are(fresh: None) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    probe.probe(replace(TINY, measure=1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_default_dtype() == torch.float32


def test_seed_rate_and_length_share_a_probe_and_what_is_computed_does_not() -> None:
    same = {"seed": 3, "learning_rate": 1.0, "epochs": 9, "batch_size": 128, "note": "again"}
    assert probe.essence(replace(TINY, **same)) == probe.essence(TINY)
    assert probe.differences(probe.probe(TINY), replace(TINY, seed=3)) == {}
    for other in (
        {"batch_size": 1},
        {"accumulate": 2},
        {"weight_decay": 0.1},
        {"schedule": "one-cycle"},
        {"norm": "ln"},
        {"ws": False},
        {"variant": "center"},
        {"train_images": 8000},
    ):
        assert probe.differences(probe.probe(TINY), replace(TINY, **other)), other
