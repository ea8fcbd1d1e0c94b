"""ptools regress: brute force, plots in the terminal, PNG, GIF, TensorBoard."""

from __future__ import annotations

import os
import pty
import re
import sys
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageSequence

from ptools.testing import Run
from ptools_plugins.regress import data, regress
from ptools_plugins.regress.canvas import Canvas
from ptools_plugins.regress.film import frames
from ptools_plugins.regress.pictures import COLOURS
from ptools_plugins.regress.scan import scan

pytestmark = pytest.mark.usefixtures("place")


def terminal(*args: str, **env: str) -> str:
    """Return what ptools prints on a terminal of 80 columns."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update({"COLUMNS": "80", "TERM": "xterm-256color", **env})
        os.execv(sys.executable, [sys.executable, "-m", "ptools", *args])
    text = b""
    while True:
        try:
            more = os.read(fd, 65536)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        text += more
    os.waitpid(pid, 0)
    os.close(fd)
    return text.decode().replace("\r", "")


# -- brute force -----------------------------------------------------------------------------------


def test_brute_force_over_w_and_b() -> None:
    points = data.line(2, 0.5, points=30, noise=1, seed=2)
    study = regress(points)
    found = scan(study, (1.0, 3.0), (-1.0, 2.0))
    assert found.b is not None
    for row, column in ((0, 0), (7, 31), (-1, -1)):
        w, b = found.w[column], found.b[row]
        expected = np.mean((w * points.x[:, 0] + b - points.y) ** 2)
        assert found.loss[row, column] == pytest.approx(expected, rel=1e-12)
    assert found.least == found.loss.min()
    assert study.closed is not None and found.best_b is not None
    assert found.best_w == pytest.approx(study.closed[0], abs=2 * np.ptp(found.w) / 40)
    assert found.best_b == pytest.approx(study.closed[1], abs=0.4)


@pytest.mark.parametrize("loss", ["l1", "huber"])
def test_brute_force_over_w_with_other_losses(ptools: Run, loss: str) -> None:
    done = ptools("regress", "--model", "linear-no-bias", "--scan", "--loss", loss, "--json",
                  "--w-range", "0,4")  # fmt: skip
    found = done.document["scan"]
    assert found["b"] is None
    assert found["best"] == {"w": 2.0, "b": None, "loss": 0.0}
    place = found["w"].index(3.0)
    expected = {"l1": 2.0, "huber": (0.5 + 1.5 + 2.5) / 3}[loss]
    assert found["loss"][0][place] == pytest.approx(expected)


def test_brute_force_is_told(ptools: Run) -> None:
    said = ptools("regress", "--scan").stdout
    assert re.search(
        r"Brute force, \d+ x \d+ pairs \(w, b\): the least loss is 0 at w = 2, b = 0.", said
    )
    assert "loss at b = 0" in said


# -- the terminal ----------------------------------------------------------------------------------


def test_braille_puts_eight_dots_into_a_cell() -> None:
    canvas = Canvas(2, 1, braille=True)
    canvas.line([0, 0], [0, 1], 0)  # the left column of the left cell: dots 1, 2, 3, 7
    canvas.line([1, 1], [1, 1], 1)  # the upper right dot: dot 4
    assert canvas.rows(colours=False) == ["\u2847\u2808"]
    assert canvas.rows(colours=True) == ["\x1b[31m\u2847\x1b[34m\u2808\x1b[0m"]


def test_ascii_and_what_leaves_the_canvas() -> None:
    canvas = Canvas(5, 5, braille=False)
    canvas.line([0, 1], [0, 1], 0, "*")
    canvas.line([-1e9, 1e9], [0.5, 0.5], 0, "-")  # all of it that is seen, however long it is
    canvas.line([0.5, 0.5], [5, 9], 1, "+")
    canvas.mark(1.0, 0.0, "o", None)
    assert canvas.rows(colours=False) == ["    *", "   *", "-----", " *", "*   o"]


def test_plot_in_a_pipe_has_no_control_codes(ptools: Run) -> None:
    said = ptools("regress", "--plot", "--optimizer", "sgd,adam", process=True).stdout
    assert "\x1b" not in said
    assert re.search("[\u2801-\u28ff]{3}", said)
    assert "a sgd   b adam" in said
    assert said.count("\N{WHITE CIRCLE}") == 3
    assert max(map(len, said.splitlines())) <= 80


def test_plot_without_unicode_is_ascii(ptools: Run) -> None:
    args = ("regress", "--plot", "--optimizer", "sgd,adam")
    said = ptools(*args, process=True, env={"PYTHONIOENCODING": "ascii"}).stdout
    assert said.isascii()
    assert "\\u" not in said
    assert "* sgd   + adam" in said
    assert said.count("o") > 3


def test_plot_on_a_terminal() -> None:
    args = ("regress", "--plot", "--optimizer", "sgd,adam", "--epochs", "30")
    coloured, plain = terminal(*args), terminal(*args, NO_COLOR="1")
    assert "\x1b[31m" in coloured
    assert "\x1b[3" not in plain
    for text in (coloured, plain):
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
        assert max(map(len, lines)) <= 80
    narrow = terminal(*args, COLUMNS="50", NO_COLOR="1")
    chart = [line for line in narrow.splitlines() if "\u2502" in line]
    assert chart and max(map(len, chart)) <= 50


# -- files -----------------------------------------------------------------------------------------


def pixels(path: str | Path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        return set(map(tuple, np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)))


@pytest.mark.parametrize(
    ("args", "size"),
    [
        pytest.param("", (980, 390), marks=pytest.mark.slow),
        ("--scan", (980, 780)),
        pytest.param("--scan --model linear-no-bias", (1470, 390), marks=pytest.mark.slow),
        ("--x 1,2,3,4 --x 3,1,2,2 --y 1,2,3,4", (980, 390)),
    ],
)
def test_a_picture_of_everything(ptools: Run, args: str, size: tuple[int, int]) -> None:
    done = ptools("regress", *args.split(), "--epochs", "20", "--optimizer", "sgd,adam",
                  "--png", "a.png")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    with Image.open("a.png") as image:
        assert image.size == size
    found = pixels("a.png")
    assert (255, 255, 255) in found
    for colour in COLOURS[:2]:
        assert ImageColor.getrgb(colour) in found
    assert Path("a.png").stat().st_size < 150_000


def test_the_map_shows_the_least_loss_where_it_is() -> None:
    """The darkest blue of the map lies at (2, 0)."""
    study = regress(data.given([[1, 2, 3]], [2, 4, 6]), epochs=1)
    from ptools_plugins.regress.pictures import png

    image = Image.open(BytesIO(png(study, scan(study, (0.0, 4.0), (-2.0, 2.0))))).convert("RGB")
    dark = [
        (x, y)
        for x in range(555, 955, 3)
        for y in range(420, 730, 3)
        if (pixel := image.getpixel((x, y))) and isinstance(pixel, tuple) and sum(pixel) < 200
    ]
    assert len(dark) > 20
    x, y = np.mean(dark, 0)
    assert x == pytest.approx(758, abs=25)  # the middle of the map
    assert y == pytest.approx(574, abs=40)


@pytest.mark.parametrize(
    "args",
    [
        "--scan",
        pytest.param("", marks=pytest.mark.slow),
        pytest.param("--scan --model linear-no-bias", marks=pytest.mark.slow),
    ],
)
def test_an_animation_goes_down(ptools: Run, args: str) -> None:
    done = ptools("regress", *args.split(), "--epochs", "40", "--gif", "a.gif")
    assert done.exit_code == 0, done.stderr
    with Image.open("a.gif") as image:
        shown = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
        assert image.info["loop"] == 0
    assert 15 <= len(shown) <= 60
    assert shown[0].size == (800, 400)
    changed = [np.asarray(a) != np.asarray(b) for a, b in pairwise(shown)]
    assert changed[0][:, :400].any() and changed[0][:, 400:].any()
    assert ImageColor.getrgb(COLOURS[0]) in {c for _, c in shown[-1].getcolors(1 << 24) or []}


def test_the_line_turns_to_where_it_belongs() -> None:
    """In the first frame the red line is below the points, in the last one it runs through them."""
    study = regress(data.given([[1, 2, 3]], [2, 4, 6]), lrs=[0.05], epochs=100, init=[0.0, 0.0])
    red = np.array(ImageColor.getrgb(COLOURS[0]))
    heights = []
    for frame in (frames(study, None)[0], frames(study, None)[-1]):
        part = np.asarray(frame)[30:320, 60:370]
        rows = np.nonzero((abs(part.astype(int) - red) < 40).all(-1))[0]
        heights.append(rows.mean())
    assert heights[0] > heights[1] + 80  # rows are counted from the top


def test_what_runs_away_can_be_drawn(ptools: Run) -> None:
    done = ptools("regress", "--lr", "0.5", "--epochs", "600", "--scan", "--png", "a.png",
                  "--gif", "a.gif", "--plot")  # fmt: skip
    assert done.exit_code == 1
    assert "became inf" in done.stderr
    assert Path("a.png").exists() and Path("a.gif").exists()


def test_nothing_is_overwritten_unasked(ptools: Run) -> None:
    Path("a.png").write_text("mine")
    done = ptools("regress", "--png", "a.png")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "--force" in done.stderr
    assert Path("a.png").read_text() == "mine"
    assert ptools("regress", "--png", "a.png", "--force").exit_code == 0
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_reads_the_scalars(ptools: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    args = ("regress", "--optimizer", "sgd,adam", "--epochs", "30", "--json", "--logdir", "logs")
    done = ptools(*args)
    ptools(*args)  # a second run has folders of its own
    assert sorted(p.name for p in Path("logs").iterdir()) == ["adam-1", "adam-2", "sgd-1", "sgd-2"]
    for descent in done.document["descents"]:
        events = EventAccumulator(f"logs/{descent['label']}-1")
        events.Reload()
        assert events.Tags()["scalars"] == ["loss", "theta/w", "theta/b"]
        values = events.Scalars("loss")
        assert [value.step for value in values] == list(range(31))
        assert [value.value for value in values] == pytest.approx(descent["losses"], rel=1e-6)
        w = [value.value for value in events.Scalars("theta/w")]
        assert w == pytest.approx([theta[0] for theta in descent["thetas"]], rel=1e-6)
