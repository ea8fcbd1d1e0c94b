"""ptools tb-images --serve: the real TensorBoard over HTTP, and in a real browser."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ptools.testing import Run
from tests import tb_images as here

pytestmark = pytest.mark.usefixtures("place")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def serving(*args: str) -> Iterator[str]:
    """Run `ptools tb-images ... --serve` and yield the address it prints; Ctrl-C must end it with 130."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ptools", "tb-images", *args, "--serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        address = next((line for line in lines if line.startswith("http://")), "")
        assert address, process.communicate()[1]
        yield address.strip().removesuffix("#images")
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Interrupted."


def get(address: str) -> Any:
    with OPENER.open(address, timeout=20) as answer:
        return answer.headers.get_content_type(), answer.read()


def shown(address: str, tag: str) -> list[tuple[int, str, bytes]]:
    """Return (step, content type, bytes) of every image that TensorBoard has at a tag."""
    plugin = f"{address}data/plugin/images"
    query = urllib.parse.urlencode({"run": ".", "tag": tag, "sample": 0})
    found = []
    for one in json.loads(get(f"{plugin}/images?{query}")[1]):
        found.append((one["step"], *get(f"{plugin}/individualImage?{one['query']}")))
    return found


def test_tensorboard_shows_every_step_pixel_by_pixel() -> None:
    """24 steps, of which TensorBoard would keep 10 by itself; photographs, and a grid of small images."""
    here.photos(classes=("ants",), each=24)
    small = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8)
    np.save("small.npy", small.numpy())
    with serving("photos", "small.npy", "--out", "seen") as address:
        assert address.startswith("http://127.0.0.1:")
        tags = json.loads(get(f"{address}data/plugin/images/tags")[1])
        assert set(tags["."]) == {"photos/ants", "small"}
        found = shown(address, "photos/ants")
        assert [step for step, _, _ in found] == list(range(24))
        for step, content, data in found:
            assert content == "image/jpeg"
            error = here.decoded(data).int() - here.photo(seed=step).int()
            assert error.abs().float().mean() < 3
        for step, content, data in shown(address, "small"):
            assert content == "image/png"
            assert here.decoded(data).equal(small[step])
        port = int(address.rstrip("/").rpartition(":")[2])
        with socket.socket() as probe:  # on loopback and nowhere else
            probe.bind(("127.0.0.2", port))
    time.sleep(0.2)
    with pytest.raises(OSError):
        get(address)


def test_a_port_in_use_is_one_line(ptools: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = ptools("tb-images", "digits", "--max", "3", "--serve", "--port", str(port))
    assert done.exit_code == 1
    assert f"port {port} is in use; choose another --port" in done.stderr.splitlines()[-1]
    assert not Path("runs").exists()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_the_images_are_painted_in_a_browser(tmp_path: Path) -> None:
    """Four colours nobody else paints: each has to fill a good part of the page."""
    colours = [(230, 20, 140), (20, 200, 90), (250, 160, 10), (60, 30, 220)]
    for place, colour in enumerate(colours):
        flat = torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).expand(3, 120, 120)
        here.save(flat, Path("flat", f"class-{place}", "0.png"))
    with serving("flat", "--out", "seen") as address:
        screen = _screenshot(f"{address}?darkMode=false#images", tmp_path)
    pixels = np.asarray(Image.open(screen).convert("RGB")).astype(int)
    for colour in colours:
        near = (np.abs(pixels - np.array(colour)).max(axis=2) <= 6).sum()
        assert near > 5000, f"{colour} is painted on {near} pixels only; see {screen}"


def _screenshot(address: str, folder: Path) -> Path:
    assert CHROMIUM is not None
    screen = folder / "screen.png"
    plain = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    subprocess.run(
        [CHROMIUM, *plain, *quiet, "--no-proxy-server", f"--user-data-dir={folder / 'profile'}",
         "--window-size=1400,1000", "--virtual-time-budget=15000", f"--screenshot={screen}", address],
        check=True, capture_output=True, timeout=180,
    )  # fmt: skip
    return screen
