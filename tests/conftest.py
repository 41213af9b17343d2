"""What several test folders need: the project's root, and its site, built once and only when something changed."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def site(root: Path) -> Path:
    """The built site. `make` knows whether it must be built; parallel workers wait for the one that builds it."""
    (root / "build").mkdir(exist_ok=True)
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTEST_", "MAKE", "MFLAGS"))
    }
    with (root / "build" / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = subprocess.run(
            ["make", "site"], cwd=root, env=env, capture_output=True, text=True
        )
    if result.returncode:
        pytest.fail(
            "\n".join(
                ["make site failed:", *(result.stdout + result.stderr).splitlines()[-30:]]
            ),
            pytrace=False,
        )
    return root / "site"
