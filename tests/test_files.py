"""Nothing is lost: whole files or none, nothing overwritten unasked, a full disk leaves no scraps."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ptools import checkpoints, files
from ptools.errors import FileError
from ptools.testing import run


def names(folder: Path) -> list[str]:
    """Return everything in a folder, hidden files too."""
    return sorted(file.name for file in folder.iterdir())


def test_write_and_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write(path, "one")
    with pytest.raises(FileError, match="--force"):
        files.write(path, "two")
    assert path.read_text() == "one"
    files.write(path, b"two", force=True)
    files.write(path, lambda file: file.write(b"three"), force=True)
    assert path.read_text() == "three"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_is_replaced_and_never_rewritten(tmp_path: Path) -> None:
    """Whoever reads the old file while the new one is written has the old one, whole."""
    path = tmp_path / "a"
    files.write(path, "old")
    with path.open() as reader:
        files.write(path, lambda file: file.write(b"new" * 1000), force=True)
        assert reader.read() == "old"


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from ptools import files
def half(file):
    file.write(b"ne")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
files.write(Path(sys.argv[1]), half, force=True)
"""
    path = tmp_path / "a"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_a_file_is_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        files.write(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.write(path, "old")

    def fail(file: object) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        files.write(path, fail, force=True)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("folder", ["file/below", "/proc/nowhere"])
def test_places_that_cannot_be_written(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"cannot write"):
        files.write(tmp_path / folder / "a", "x")
    with pytest.raises(FileError, match=r"cannot write to"):
        files.claim(tmp_path / folder)
    with pytest.raises(FileError, match=r"cannot write to"):
        files.claim_next(tmp_path / folder, "run")


def test_claim(tmp_path: Path) -> None:
    files.claim(tmp_path / "a" / "b")
    files.claim(tmp_path / "a" / "b")  # empty: nothing to lose
    (tmp_path / "a" / "b" / "mine").touch()
    with pytest.raises(FileError, match="--force"):
        files.claim(tmp_path / "a" / "b")
    files.claim(tmp_path / "a" / "b", force=True)
    assert (tmp_path / "a" / "b" / "mine").exists()
    with pytest.raises(FileError, match="is a file"):
        files.claim(tmp_path / "a" / "b" / "mine")


def test_claim_next_counts(tmp_path: Path) -> None:
    names = [files.claim_next(tmp_path, "run").name for _ in range(3)]
    assert names == ["run-1", "run-2", "run-3"]
    (tmp_path / "run-9").mkdir()
    (tmp_path / "run-odd").mkdir()
    assert files.claim_next(tmp_path, "run").name == "run-10"


def test_claim_next_in_many_processes_at_once(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from ptools.files import claim_next\n"
    code += "for _ in range(20): print(claim_next(Path(sys.argv[1]), 'run').name)"
    command = [sys.executable, "-c", code, str(tmp_path / "new")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    names = [name for child in children for name in child.communicate()[0].split()]
    assert len(names) == len(set(names)) == 80


# -- full disks --------------------------------------------------------------------------------------


@pytest.fixture
def limited() -> Iterator[None]:
    """No file of this process may grow beyond 64 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("limited")
def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot write .*larger than this system allows"):
        files.write(tmp_path / "a", b"x" * (1 << 20))
    assert names(tmp_path) == []


@pytest.mark.usefixtures("limited")
def test_a_checkpoint_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "a.pt"
    checkpoints.save({"w": torch.ones(3)}, path)
    with pytest.raises(FileError, match=r"cannot write .*larger than this system allows"):
        checkpoints.save({"w": torch.ones(1 << 20)}, path, force=True)
    assert checkpoints.load(path)["w"].tolist() == [1, 1, 1]
    assert names(tmp_path) == ["a.pt"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB, where the system lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    with pytest.raises(FileError, match=r"No space left on device; free some space"):
        files.write(small_disk / "a", b"x" * (1 << 20))
    assert names(small_disk) == []


def test_training_onto_a_full_disk_is_one_line(small_disk: Path) -> None:
    done = run("train", "--epochs", "2", "--out", str(small_disk / "r"), process=True)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(small_disk.rglob("*.tmp"))
    assert not (small_disk / "r" / "best.pth").exists()  # 330 kB do not fit, and half is not there


def test_a_disk_that_is_full_from_the_start_is_one_line(small_disk: Path) -> None:
    """The event file of TensorBoard fails first, and in no thread of its own."""
    (small_disk / "r").mkdir()
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    done = run("train", "--epochs", "1", "--out", str(small_disk / "r"), process=True)
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device; free some space" in done.stderr
    left = [file.name for file in (small_disk / "r").iterdir()]
    assert all((small_disk / "r" / name).stat().st_size for name in left), left


def test_an_event_file_on_a_disk_that_fills_up_holds_whole_records(small_disk: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    from ptools.training.events import EventFile

    events, step = EventFile(small_disk), 0
    with pytest.raises(FileError, match="No space left on device"):
        while True:
            events.scalars(step, {"a tag of some length " * 20: 1.0})
            step += 1
    events.close()
    assert step > 100
    assert [event.step for event in EventFileLoader(str(events.path)).Load()][-1] == step - 1


def test_what_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    there = tmp_path / "there"
    files.place(there)
    there.touch()
    files.place(there, force=True)
    for path, says in (
        (there, "exists; choose another name or add --force"),
        (tmp_path, "is a folder; name a file in it"),
        (tmp_path / "no/file", "no does not exist; make that folder first"),
    ):
        with pytest.raises(FileError, match=says):
            files.place(path)
