"""Checkpoints: a round trip, and refusal of what is not plain weights."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from ptools import checkpoints
from ptools.errors import FileError


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code was run",)


def test_round_trip(tmp_path: Path, tiny_checkpoint: Path) -> None:
    import torch

    state = checkpoints.load(tiny_checkpoint)
    checkpoints.save(state, tmp_path / "copy.pt")
    copy = checkpoints.load(tmp_path / "copy.pt")
    assert all(torch.equal(state[key], copy[key]) for key in state)
    with pytest.raises(FileError, match="--force"):
        checkpoints.save(state, tmp_path / "copy.pt")


def test_code_in_a_checkpoint_is_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    torch.save({"w": Hostile()}, tmp_path / "hostile.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Hostile()))
    for name in ("hostile.pt", "plain.pkl"):
        with pytest.raises(FileError, match="no checkpoint of plain weights"):
            checkpoints.load(tmp_path / name)
    assert "code was run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 torn", b"\x80\x02."])
def test_torn_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "torn.pt").write_bytes(content)
    with pytest.raises(FileError, match=r"torn\.pt"):
        checkpoints.load(tmp_path / "torn.pt")
    with pytest.raises(FileError, match="does not exist"):
        checkpoints.load(tmp_path / "nothing.pt")
    with pytest.raises(FileError):
        checkpoints.load(tmp_path)
