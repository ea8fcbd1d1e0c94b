"""The one place that prints: streams, tables, JSON, terminals, NO_COLOR."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ptools import output
from ptools.testing import Run

ROOT = Path(__file__).parent.parent


def test_document_is_json_whatever_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    output.document({"a": float("nan"), "b": [float("-inf"), 1.5], "c": (Path("x"), None), 3: True})
    captured = capsys.readouterr()
    expected = {"a": None, "b": [None, 1.5], "c": ["x", None], "3": True}
    assert json.loads(captured.out) == expected
    assert captured.err == ""


def test_sizes_of_files() -> None:
    sizes = {0: "0 B", 999: "999 B", 1000: "1 kB", 4120: "4.12 kB", 999_499: "999 kB"}
    sizes |= {999_500: "1 MB", 3_216_000: "3.22 MB", 5 * 10**15: "5e+03 TB"}
    assert {count: output.size(count) for count in sizes} == sizes


def test_a_table_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name", "size"), [("a" * 100, 1), ("b", 22)])
    assert capsys.readouterr().out.splitlines() == [
        "name" + " " * 98 + "size",
        "a" * 100 + "  1",
        "b" + " " * 101 + "22",
    ]


def on_terminal(
    *args: str,
    command: list[str] | None = None,
    env: dict[str, str] | None = None,
    columns: int = 80,
) -> str:
    """Run ptools (or `command`) on a terminal of `columns` and return what it shows."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "TERM")}
    process = subprocess.Popen(
        command or [sys.executable, "-m", "ptools", *args],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**clean, "TERM": "xterm-256color", **(env or {})},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait(60) == 0
    return shown.decode()


def test_a_table_on_a_terminal_keeps_to_its_width() -> None:
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", on_terminal("plugins", columns=60))
    assert "train" in shown
    assert max(map(len, shown.replace("\r", "").splitlines())) <= 60


def test_a_paragraph_keeps_its_indent_on_a_terminal() -> None:
    code = "from ptools import output; output.paragraph('  ' + 'word ' * 20)"
    shown = on_terminal(command=[sys.executable, "-c", code], columns=40).replace("\r", "")
    assert [line[:6] for line in shown.splitlines()] == ["  word"] * 3


@pytest.mark.slow
def test_the_progress_bar_is_for_terminals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ptools: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = on_terminal("train", "--epochs", "2")
    assert "━" in shown
    assert re.search(r"loss \d\.\d{4}", shown)
    assert re.search(r"40/40", shown)
    plain = on_terminal("train", "--epochs", "2", env={"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*3[0-9](;[0-9;]*)?m", plain)
    piped = ptools("train", "--epochs", "2", process=True)
    assert "\x1b" not in piped.stdout + piped.stderr
    assert "━" not in piped.stderr


def test_the_result_goes_to_the_file_and_the_bar_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ptools train --json > run.json`, as a person at a terminal calls it."""
    monkeypatch.chdir(tmp_path)
    command = f'"{sys.executable}" -m ptools train --epochs 1 --json > run.json'
    shown = on_terminal(command=["sh", "-c", command])
    assert json.loads(Path("run.json").read_text())["folder"] == "runs/digits-cnn-bn-1"
    assert "━" in shown
    assert "test_accuracy" not in shown


def test_epoch_lines_are_not_wrapped_in_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ptools: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ptools("train", "--epochs", "1", "--model", "mlp", process=True, env={"COLUMNS": "40"})
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("    1 ")]
    assert len(line.split()) == 6


def test_a_sentence_is_broken_between_words_on_a_terminal_only(ptools: Run) -> None:
    shown = on_terminal("device", "--no-import", columns=40).replace("\r", "")
    verdict = ptools("device", "--no-import", process=True).stdout.splitlines()[0]
    first, second = shown.splitlines()[:2]
    assert len(first) <= 40
    assert f"{first} {second}" == verdict[: len(first) + len(second) + 1]


def test_programs_are_called_as_ptools_was(tmp_path: Path) -> None:
    """`.venv/bin/ptools` proposes `.venv/bin/tensorboard`; an activated one proposes `tensorboard`."""
    code = (
        "import sys; sys.argv.pop(0); from ptools.output import program; print(program('ptools'))"
    )
    script = str(Path(sys.executable).with_name("ptools"))
    folder = str(Path(sys.executable).parent)
    for called, path, shown in ((script, str(tmp_path), script), (script, folder, "ptools"),
                                ("ptools", str(tmp_path), "ptools")):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code, called], capture_output=True, text=True,
            env={**os.environ, "PATH": path},
        )  # fmt: skip
        assert done.stdout.strip() == shown
