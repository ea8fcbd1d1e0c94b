"""Import every plugin, each in a child process with a time limit, and say what happened.

A child can call os._exit, loop for ever, print, or be killed by the system: nobody else is hurt.
`python -m ptools.checking NAME FILE` is the child; it writes its finding to FILE.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ptools import registry
from ptools.errors import PluginError
from ptools.registry import READY, Plugin

OK, BROKEN = "ok", "broken"


def check(plugins: Sequence[Plugin], *, timeout: float = 30) -> list[Plugin]:
    """Return the plugins with state `ok` or `broken` and the reason, where they were `ready`."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(lambda plugin: _check(plugin, timeout), plugins))


def _check(plugin: Plugin, timeout: float) -> Plugin:
    if plugin.state != READY:
        return plugin
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "finding")
        code = _run([sys.executable, "-m", "ptools.checking", plugin.name, str(file)], timeout)
        finding = file.read_text("utf-8") if file.exists() else _died(plugin, code, timeout)
    return plugin._replace(state=OK if finding == OK else BROKEN, detail=finding.removeprefix(OK))


def _run(command: list[str], timeout: float) -> int | None:
    """Run `command` in a process group of its own, in silence; None means it took too long."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # what the plugin started goes with it
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def _died(plugin: Plugin, code: int | None, timeout: float) -> str:
    """Say how the child ended that left no finding."""
    if code is None:
        how = f"its import did not end within {timeout:g} s"
    elif code < 0:
        how = f"its import was killed by signal {-code}"
    else:
        how = f"its import ended the process with exit code {code}"
    dist = plugin.distribution
    return f"{how}; update or remove it: pip install --upgrade {dist}, or pip uninstall {dist}"


def _child(name: str, file: str) -> None:
    from ptools.group import load_command

    try:
        load_command(registry.owners()[name])
        finding = OK
    except PluginError as error:
        finding = str(error)
    Path(file).write_text(finding, "utf-8")


if __name__ == "__main__":
    _child(*sys.argv[1:])
