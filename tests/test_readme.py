"""What the README promises, run."""

import re
import subprocess
import sys
from pathlib import Path


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_snippet_prints_the_numbers_beside_it(root: Path) -> None:
    readme = (root / "README.md").read_text()
    snippet, printed = blocks(readme, "python")[0], blocks(readme, "text")[0]
    result = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == printed.splitlines()


def test_the_two_commands_exist(root: Path) -> None:
    readme = (root / "README.md").read_text()
    promised = set(re.findall(r"^make ([a-z]+)", "\n".join(blocks(readme, "sh")), flags=re.MULTILINE))
    made = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"site", "test"} <= promised <= made


def test_every_picture_and_file_that_it_names_is_there(root: Path) -> None:
    readme = re.sub(r"<!--.*?-->", "", (root / "README.md").read_text(), flags=re.DOTALL)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", readme)]
    local = [target for target in targets if target and not target.startswith("https://")]
    assert local
    assert [target for target in local if not (root / target).exists()] == []
