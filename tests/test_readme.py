"""What the README and the landing page promise, run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labml_ws.experiment import plots, record


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_snippet_prints_the_numbers_beside_it(root: Path, page: str) -> None:
    text = (root / page).read_text()
    snippet = next(block for block in blocks(text, "python") if block.startswith("import"))
    printed = blocks(text, "text")[0]
    result = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == printed.splitlines()


def test_the_two_commands_exist(root: Path) -> None:
    readme = (root / "README.md").read_text()
    promised = set(
        re.findall(r"^make ([a-z]+)", "\n".join(blocks(readme, "sh")), flags=re.MULTILINE)
    )
    made = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"site", "test"} <= promised <= made


def test_every_picture_and_file_that_it_names_is_there(root: Path) -> None:
    readme = re.sub(r"<!--.*?-->", "", (root / "README.md").read_text(), flags=re.DOTALL)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", readme)]
    local = [target for target in targets if target and not target.startswith("https://")]
    assert local
    assert [target for target in local if not (root / target).exists()] == []


def test_the_results_are_those_of_the_records(root: Path) -> None:
    rows = [
        line
        for line in (root / "README.md").read_text().splitlines()
        if line.startswith("| [`")
    ]
    folders = sorted(path.parent for path in (root / "docs" / "runs").glob("*/config.json"))
    assert [
        f"| [`{folder.name}`]" in row for folder, row in zip(folders, rows, strict=True)
    ] == [True] * len(rows)
    for folder, row in zip(folders, rows, strict=True):
        epochs = [
            json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()
        ]
        last = [line for line in epochs if line["kind"] == "epoch"][-1]
        assert f"| {last['epoch']} |" in row
        assert f"| {last['test_accuracy'] * 100:.1f} % |" in row


def test_the_sweep_over_batch_sizes_is_that_of_the_records(root: Path) -> None:
    readme = (root / "README.md").read_text()
    head, _, *rows = readme[readme.index("| batch size |") :].split("\n\n")[0].splitlines()
    sizes = [int(cell) for cell in head.split("|")[2:-1]]
    runs = record.read("methods") + record.read("batches")
    nets = ("bn", "gn", "ln", "ws-gn", "bcn", "ws-bcn")
    expected = []
    for net in nets:
        cells = []
        for size in sizes:
            found = [
                100 * r.accuracy for r in runs if (r.net, r.config.batch_size) == (net, size)
            ]
            average, spread = record.mean_spread(found)
            cells.append(f"{average:.1f} ± {spread:.1f}")
        expected.append(f"| {plots.look(net)['label']} | {' | '.join(cells)} |")
    assert rows == expected


def test_what_slow_estimates_gave_is_in_the_records(root: Path) -> None:
    sentence = re.search(
        r"a momentum of ([\d., and]+) gave ([\d., and]+) % \((\w+) seeds\)",
        (root / "README.md").read_text(),
    )
    assert sentence
    shares, accuracies = (re.findall(r"\d[\d.]*\d", part) for part in sentence.groups()[:2])
    runs = record.read("estimates")
    for share, accuracy in zip(shares, accuracies, strict=True):
        found = [100 * run.accuracy for run in runs if run.config.momentum == float(share)]
        assert len(found) == {"three": 3}[sentence[3]]
        assert f"{record.mean_spread(found)[0]:.1f}" == accuracy
