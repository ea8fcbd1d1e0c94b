"""Every test may use what plugin authors use."""

import os
from pathlib import Path

import pytest

# As `ptools train` does for itself: torch, imported by the tests, must not spin on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

pytest_plugins = ["ptools.testing"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, `tmp_path`/work: the working one."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
