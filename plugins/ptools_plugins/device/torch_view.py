"""What torch itself says, asked in a child process with a time limit.

look(steps, paths, ...) -> View     runs look.py; never raises for what torch does
Failure                             how a step failed: raised, crashed (signal), timed out
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptools.errors import one_line


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a step gave no answer."""

    kind: str  # raised, crashed, timeout
    text: str  # `ImportError: libcudnn.so.9: ...`, `SIGSEGV`, `30 s`


@dataclass(frozen=True, kw_only=True)
class View:
    """The child's answers: a dict per step that worked, a Failure per step that did not."""

    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    stderr: str = ""

    @property
    def torch(self) -> dict[str, Any]:
        """What torch said, {} where it was not asked or could not be imported."""
        return self.said.get("torch", {})

    @property
    def nvml(self) -> dict[str, Any]:
        """What NVML said, {} where it was not asked."""
        return self.said.get("nvml", {})


def look(steps: Sequence[str], paths: Sequence[str], *, timeout: float = 120) -> View:
    """Ask in a child process whose sys.path is `paths`; steps are nvml, torch, torchvision."""
    if not steps:
        return View()
    program = str(Path(__file__).with_name("look.py"))
    command = [sys.executable, "-P", program, ",".join(steps), *paths]
    code: int | None = None
    try:
        ran = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False
        )
        code, out, err = ran.returncode, ran.stdout, ran.stderr
    except subprocess.TimeoutExpired as late:
        out, err = late.stdout or b"", late.stderr or b""
    return _view(steps, out, err.decode(errors="replace"), _ending(code, timeout))


def _ending(code: int | None, timeout: float) -> Failure:
    """Return how a child ended that did not answer every step."""
    if code is None:
        return Failure(kind="timeout", text=f"{timeout:g} s")
    if code < 0:
        name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
        return Failure(kind="crashed", text=name)
    return Failure(kind="crashed", text=f"exit code {code}")


def _view(steps: Sequence[str], out: bytes, err: str, ending: Failure) -> View:
    answers: dict[str, dict[str, Any]] = {}
    for line in out.decode(errors="replace").splitlines():
        answers.update(json.loads(line))
    said = {step: answer for step, answer in answers.items() if "failed" not in answer}
    failed = {
        step: Failure(kind="raised", text=f"{answer['failed']}: {one_line(answer['text'])}")
        for step, answer in answers.items()
        if "failed" in answer
    }
    silent = next((step for step in steps if step not in answers), None)
    if silent:
        failed[silent] = ending
    return View(said=said, failed=failed, stderr=err[-4000:])
