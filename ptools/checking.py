"""Import every plugin, each in a child process with a time limit, and say what happened.

A child can call os._exit, loop for ever, print, or be killed by the system: nobody else is hurt.
`python -m ptools.checking NAME FILE SECONDS` is the child; it writes its finding to FILE.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ptools import registry
from ptools.errors import PluginError, cause
from ptools.registry import READY, Plugin

OK, BROKEN = "ok", "broken"


def check(plugins: Sequence[Plugin], *, timeout: float = 30) -> list[Plugin]:
    """Return the plugins with state `ok` or `broken` and the reason, where they were `ready`."""
    waiting = [plugin for plugin in plugins if plugin.state == READY]
    found: dict[Plugin, Plugin] = {}
    running: list[_Child] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            while waiting or running:
                while waiting and len(running) < (os.cpu_count() or 1):
                    running.append(_Child(waiting.pop(0), Path(folder, str(len(waiting))), timeout))
                for child in [child for child in running if child.ended()]:
                    running.remove(child)
                    found[child.plugin] = child.finding()
                time.sleep(0.01)
        finally:  # Ctrl-C: nobody is left behind
            for child in running:
                child.kill()
    return [found.get(plugin, plugin) for plugin in plugins]


class _Child:
    """A process, and a process group, that imports one plugin in silence."""

    def __init__(self, plugin: Plugin, file: Path, timeout: float) -> None:
        self.plugin, self.file, self.timeout = plugin, file, timeout
        self.deadline = time.monotonic() + timeout
        # -m puts the working folder on sys.path; the console script has no such entry.
        safe = [] if "" in sys.path or _working_folder() in sys.path else ["-P"]
        arguments = [plugin.name, str(file), str(timeout)]
        self.process = subprocess.Popen(
            [sys.executable, *safe, "-m", "ptools.checking", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def ended(self) -> bool:
        return self.process.poll() is not None or time.monotonic() > self.deadline

    def finding(self) -> Plugin:
        """Return the plugin with what was found; whatever it started is ended with it."""
        code = self.process.poll()
        self.kill()
        text = self.file.read_text("utf-8", "replace") if self.file.exists() else ""
        state = OK if text == OK else BROKEN
        return self.plugin._replace(state=state, detail=(text or self.died(code)).removeprefix(OK))

    def kill(self) -> None:
        try:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        except (ProcessLookupError, PermissionError):
            pass
        self.process.wait()

    def died(self, code: int | None) -> str:
        """Say how a child ended that left no finding."""
        if code is None:
            how = f"its import did not end within {self.timeout:g} s"
        elif code < 0:
            how = f"its import was killed by signal {-code}"
        else:
            how = f"its import ended the process with exit code {code}"
        dist = self.plugin.distribution
        return f"{how}; update or remove it: pip install --upgrade {dist}, or pip uninstall {dist}"


def _working_folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return ""


def _import(name: str, file: str, timeout: str) -> None:
    from ptools.group import load_command

    if hasattr(signal, "alarm"):  # where nobody is left to end us
        signal.alarm(int(float(timeout)) + 5)
    try:
        load_command(registry.owners()[name])
        finding = OK
    except PluginError as error:
        finding = str(error)
    except Exception as error:
        finding = cause(error)
    Path(file).write_text(finding, "utf-8", "replace")


if __name__ == "__main__":
    _import(*sys.argv[1:])
