"""TensorBoard: the command that shows a folder, and the server itself, on loopback only.

command(folder, ...)   the words of the command line
start(folder, ...)     a Server, once it answers; Server.wait() until it ends or Ctrl-C
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ptools.errors import PtoolsError, one_line

__all__ = ["Server", "command", "free_port", "start"]

HOST = "127.0.0.1"
PORT = 6006  # TensorBoard's own
_PATIENCE = 90  # seconds until it has to answer: on a busy machine its imports take long


def command(folder: Path, samples: Mapping[str, int]) -> list[str]:
    """Return the arguments of TensorBoard: without `samples` it would keep 10 images of each tag."""
    kept = ",".join(f"{plugin}={count}" for plugin, count in samples.items())
    return ["--logdir", str(folder), "--samples_per_plugin", kept]


def free_port(wanted: int | None) -> int:
    """Return the port that is wanted; without a wish 6006, or any free one where that is taken.

    Raises PtoolsError where it is in use.
    """
    for port in [PORT, 0] if wanted is None else [wanted]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise PtoolsError(f"port {wanted} is in use; choose another --port, or 0 for any free one.")


@dataclass
class Server:
    """TensorBoard, running."""

    address: str
    process: subprocess.Popen[bytes]
    said: IO[bytes]  # its stderr

    def wait(self) -> None:
        """Wait until it ends. Raises PtoolsError then: by itself it never should."""
        self.process.wait()
        raise PtoolsError(f"TensorBoard ended: {self.last_line()}; start it again.")

    def stop(self) -> None:
        """End it, whatever it is doing."""
        with suppress(OSError):
            self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.said.close()

    def last_line(self) -> str:
        """Return the last thing it said."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        return one_line(lines[-1] if lines else f"exit code {self.process.returncode}")


def start(folder: Path, samples: Mapping[str, int], port: int | None) -> Server:
    """Start TensorBoard and return it once it answers. Raises PtoolsError where it does not."""
    number = free_port(port)
    said = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the server
    words = [sys.executable, "-m", "tensorboard.main", *command(folder, samples)]
    process = subprocess.Popen(
        [*words, "--host", HOST, "--port", str(number)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
    )
    server = Server(f"http://{HOST}:{number}/", process, said)
    try:
        _await(server, "images" if "images" in samples else "scalars")
    except BaseException:
        server.stop()
        raise
    return server


def _await(server: Server, plugin: str) -> None:
    """Wait until it has read the folder: a page that is opened before would be empty."""
    import urllib.request

    plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise PtoolsError(
                f"TensorBoard does not start: {server.last_line()}; try another --port."
            )
        tags = f"{server.address}data/plugin/{plugin}/tags"
        with suppress(OSError), plain.open(tags, timeout=10) as answer:
            if len(answer.read()) > 4:  # {} until the folder is read
                return
        time.sleep(0.2)
    raise PtoolsError(f"TensorBoard does not answer within {_PATIENCE} s; try again.")
