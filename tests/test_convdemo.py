"""ptools convdemo: what it prints and refuses, in a pipe and on a terminal; what it imports."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ptools.testing import Run
from ptools_plugins.convdemo import demos

pytestmark = pytest.mark.usefixtures("place")
CLASSIC = """\

window 2 of 9: output[0, 1]
input         kernel    products    output
 1[2 0 3]1     1 2 1     2 0 3       10[12] .
 0[1 2 3]1  *  0 1 0  =  0 2 0   ->   .  .  .
 1[2 1 0]0     2 1 0     4 1 0        .  .  .
 5 2 3 1 1
 2 1 0 1 1
2 + 0 + 3 + 0 + 2 + 0 + 4 + 1 + 0 = 12
"""


def test_the_classics_window_by_window(ptools: Run) -> None:
    shown = ptools("convdemo").stdout
    assert CLASSIC in shown
    assert len(re.findall("^window", shown, re.M)) == 9 + 4 + 25
    assert shown.count("conv2d: input 5x5") == 3  # once a layer
    assert (
        "\nconv2d: input 5x5, kernel 3x3, stride 2 -> 2x2\nwindow 1 of 4: output[0, 0]\n" in shown
    )
    assert shown.isascii() and "\x1b" not in shown
    assert shown.endswith(
        "The outputs\n"
        "stride 1     stride 2   stride 1, padding 1\n"
        " 10 12 12     10 12       1  3  4 10  8\n"
        " 18 16 16     13  3       5 10 12 12  6\n"
        " 13  9  3                 7 18 16 16  8\n"
        "                         11 13  9  3  4\n"
        "                         14 13  9  7  4\n"
    )


def test_padding_has_a_frame_and_the_last_window_of_ceil_is_cut(ptools: Run) -> None:
    padded = ptools("convdemo", "--padding", "1").stdout
    assert (
        "[0 0 0]0 0 0 0 " in padded and "\n  +---------+" in padded and "\n[0|1 2]0 3 1|0" in padded
    )
    cut = ptools("convdemo", "--op", "max", "--ceil").stdout
    assert cut.endswith("max(1) = 1\n") and "max(0, 1) = 1" in cut
    assert "(0 + 1) / 2 = 0.5" in ptools("convdemo", "--op", "avg", "--ceil").stdout


def test_channels_bias_and_activation_are_told(ptools: Run) -> None:
    args = ("--input", "1 2; 3 4 | 1 0; 0 1", "--kernel", "1 -1 | 2 -3", "--bias", "-1", "--relu")
    shown = ptools("convdemo", *args).stdout
    assert "input[1]" in shown and "kernel[0, 1]" in shown
    end = ["channel 0: 3 - 4 = -1", "channel 1: 0 - 3 = -3", "sum with bias: -1 - 3 - 1 = -5"]
    assert shown.splitlines()[-4:] == [*end, "relu(-5) = 0"]


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--input", "40x40", "--stride", "9"],
        ["--input", "4x9x9", "--kernel", "5x5", "--stride", "4", "--out-channels", "2"],
        ["--input", "3x7", "--kernel", "blur", "--padding", "same", "--sigmoid"],
        ["--op", "transpose", "--stride", "3", "--dilation", "2"],
        ["--im2col"],
        ["--im2col", "--input", "2x9x9", "--out-channels", "3"],
        ["--backward", "--input", "2x5x5", "--padding", "2", "--kernel", "4"],
        ["--input", "999999 -999999 1/3; 1e-9 0.001 -12.5", "--kernel", "-1000 0.3333"],
    ],
    ids=" ".join,
)
def test_it_fits_80_columns_in_ascii(ptools: Run, args: list[str]) -> None:
    shown = ptools("convdemo", *args).stdout
    assert max(map(len, shown.splitlines())) <= 79
    assert shown.isascii()


def test_im2col_is_one_product(ptools: Run) -> None:
    shown = ptools("convdemo", "--stride", "2", "--im2col").stdout
    assert "kernel, 1x9           windows, 9x4   output, 1x4\n" in shown
    assert " 1 2 1 0 1 0 2 1 0  *  1 0 1 1     =  10 12 13  3\n" in shown


def test_backward_says_what_is_reached_and_what_is_lost(ptools: Run) -> None:
    lost = ptools("convdemo", "--padding", "1", "--backward").stdout
    assert "A gradient of 1 arrives; what falls on the padding is lost (5)." in lost
    missed = ptools("convdemo", "--input", "6x6", "--kernel", KERNEL, "--stride", "2", "--backward")
    end = "18 of 36 input cells get a gradient. 18 do not: they change no output here.\n"
    assert missed.stdout.endswith(end)
    assert "the largest cell gets it" in ptools("convdemo", "--op", "max", "--backward").stdout
    stopped = ptools("convdemo", "--kernel", "-1 0", "--relu", "--backward").stdout
    assert "A gradient of 0 arrives: relu stops it here." in stopped


KERNEL = "1 2 1; 0 1 0; 2 1 0"
LAYERS = [
    ["--stride", "2"],
    ["--padding", "1x2", "--dilation", "2x1"],
    ["--padding", "same", "--kernel", "2x4", "--padding-mode", "circular"],
    ["--input", "4x6x5", "--groups", "2", "--out-channels", "4", "--bias", "1,2,3,4", "--relu"],
    ["--op", "max", "--kernel", "3", "--stride", "2", "--padding", "1", "--ceil"],
    ["--op", "avg", "--kernel", "3x2", "--padding", "1", "--exclude-pad", "--ceil"],
    ["--op", "transpose", "--stride", "2", "--output-padding", "1", "--padding", "1"],
    ["--kernel", "edge", "--sigmoid"],
]


@pytest.mark.parametrize("args", LAYERS, ids=" ".join)
def test_the_document_has_the_call_of_torch_that_gives_the_same(
    ptools: Run, args: list[str]
) -> None:
    (found,) = ptools("convdemo", *args, "--json", "--backward").document["demos"]
    names: dict[str, Any] = {"F": F, "torch": torch}
    for name, key in (("x", "input"), ("w", "weight"), ("b", "bias")):
        values = found[key]
        names[name] = None if values is None else torch.tensor(values, dtype=torch.float64)
    theirs = eval(found["torch"], names)  # our own text, on our own numbers
    np.testing.assert_allclose(
        found["output"], theirs.numpy(), rtol=0 if "torch." not in found["torch"] else 1e-15
    )
    values = [window["value"] for window in found["windows"]]
    assert values == np.array(found["output"]).ravel().tolist()
    assert np.array(found["gradients"]["input"]).shape == np.array(found["input"]).shape


def test_the_document_of_im2col_multiplies(ptools: Run) -> None:
    args = ("--input", "4x5x5", "--groups", "2", "--im2col", "--json")
    found = ptools("convdemo", *args).document["demos"][0]
    for group, part in enumerate(found["im2col"]):
        product = np.array(part["weight"]) @ np.array(part["columns"])
        assert np.array_equal(product, part["product"])
        assert product.ravel().tolist() == np.array(found["output"][group]).ravel().tolist()


def test_random_numbers_are_those_of_the_seed(ptools: Run) -> None:
    args = ("convdemo", "--input", "3x5", "--kernel", "2", "--json", "--seed")
    one, again, other = (ptools(*args, seed).document for seed in ("1", "1", "2"))
    assert one == again != other


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--input", "1 2; 3 x"], "--input, row 2, column 2: 'x' is no number."),
        (["--input", "1 2 3; 4 5"], "--input, row 2, column 3 is missing: row 1 ends at column 3."),
        (["--input", "1 2; 3 4 5"], "--input, row 2, column 3 is one too many"),
        (["--input", "1 2; 3 4 | 1 nan; 1 1"], "--input, plane 2, row 1, column 2: 'nan' is no number."),
        (["--input", "1 2; 3 4 | 1 2"], "--input, plane 2 is 1x2, plane 1 is 2x2"),
        (["--input", ""], "--input is empty"),
        (["--input", " ; "], "--input is empty"),
        (["--input", "1/0"], "--input, row 1, column 1: '1/0' divides by 0."),
        (["--input", "12345678"], "every size must be from 1 to 64"),
        (["--input", "9999999; 1"], "row 1, column 1: 9999999 is too large"),
        (["--input", "0x3"], "0x3: every size must be from 1 to 64"),
        (["--input", "1 " * 65], "is 1x65; at most 64x64"),
        (["--kernel", "6"], "the kernel covers 6 rows, but the input has 5 rows with its padding"),
        (["--kernel", "3", "--dilation", "3"], "the kernel covers 7 rows"),
        (["--kernel", "1x6"], "the kernel covers 6 columns"),
        (["--kernel", "edgy"], "emboss, and no numbers. Did you mean 'edge'?"),
        (["--kernel", "1 x"], "--kernel, row 1, column 2: 'x' is no number."),
        (["--gif", "x.png"], "--gif x.png: the name must end in .gif."),
        (["--padding", "5", "--padding-mode", "reflect"], "more than the input's 5 rows: at most 4"),
        (["--padding", "6", "--padding-mode", "circular"], "circular padding of 6"),
        (["--op", "max", "--padding", "2"], "padding 2 is over half of the kernel's 2 rows"),
        (["--op", "max", "--kernel", KERNEL], "pooling has a size"),
        (["--op", "max", "--im2col"], "--im2col is of conv and transpose, not of max."),
        (["--op", "avg", "--dilation", "2"], "--dilation is of conv and max and transpose, not of avg."),
        (["--ceil"], "--ceil is of max and avg, not of conv."),
        (["--padding", "same", "--stride", "2"], "--padding same is of conv with stride 1"),
        (["--input", "3x5x5", "--groups", "2"], "2 groups do not divide the input's channels (3)"),
        (["--input", "2x5x5", "--kernel", KERNEL], "--kernel has 1, but a group has 2 channels"),
        (["--input", "2x5x5", "--kernel", "edge"], "add --groups 2 to apply it to each"),
        (["--bias", "1,2"], "--bias has 2 numbers for the output's channels (1)"),
        (["--op", "transpose", "--output-padding", "1"], "output padding 1 must be smaller"),
        (["--op", "transpose", "--padding", "9"], "nothing comes out"),
        (["--relu", "--sigmoid"], "take one of them"),
        (["--im2col", "--backward"], "take one of them"),
        (["--input", "64x64", "--padding", "50"], "too many to look at"),
        (["--step"], "--step needs a terminal"),
        (["--step", "--animate"], "--step and --animate: take one of them."),
        (["--delay", "2"], "--delay is of --gif FILE and --animate"),
        (["--animate"], "--animate needs a terminal"),
        (["--save", "x.png"], "--save is for a photo"),
        (["--input", "60x60", "--gif", "x.gif"], "too many for a file"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)  # fmt: skip
def test_what_is_wrong_is_one_line(ptools: Run, args: list[str], says: str) -> None:
    done = ptools("convdemo", *args)
    assert says in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert (done.exit_code, done.stdout) == (2, "")
    assert not list(Path().iterdir())


def imported(*args: str) -> set[str]:
    """Run ptools in a process of its own and return the modules it had imported at the end."""
    code = (
        "import sys; from ptools.cli import main; code = main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_numpy_is_enough_and_pillow_is_for_pictures() -> None:
    heavy = {"torch", "torchvision", "matplotlib", "scipy", "rich", "sklearn", "numpy.random"}
    text = imported("convdemo", "--op", "transpose", "--backward")
    assert "numpy" in text and "PIL" not in text and not text & heavy
    picture = imported("convdemo", "--gif", "x.gif", "--png", "x.png")
    assert "PIL" in picture and not picture & heavy


def test_from_python() -> None:
    (demo,) = demos(input="1 2; 3 4", kernel="1 1", stride=(1,))
    assert demo.output.tolist() == [[[3], [7]]]
    assert demo.window(1).sums == [7]


# -- on a terminal -------------------------------------------------------------------------------------


def terminal(
    args: Sequence[str], keys: Sequence[bytes] = (), *, env: Mapping[str, str] | None = None,
    wait_for: str = "any key", columns: int = 80,
) -> tuple[str, int]:  # fmt: skip
    """Run ptools on a terminal of its own, pressing a key whenever `wait_for` is shown once more."""
    pid, terminal = pty.fork()
    if pid == 0:
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
        kept |= {"TERM": "xterm", "PYTHONIOENCODING": "utf-8", **(env or {})}
        ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.execve(sys.executable, [sys.executable, "-m", "ptools", "convdemo", *args], kept)
    seen, pressed, end = b"", 0, time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # Linux: the other side has closed
                break
            if not piece:
                break
            seen += piece
        elif pressed < len(keys) and seen.count(wait_for.encode()) > pressed:
            os.write(terminal, keys[pressed])
            pressed += 1
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return seen.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(status)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_terminal_has_colour_and_no_color_is_kept() -> None:
    coloured, code = terminal(["--padding", "1"])
    assert code == 0 and "\x1b[30;46m" in coloured and "┌─────────┐" in coloured and "→" in coloured
    assert "[" not in plain(coloured).replace("output[", "")
    assert coloured.endswith("One at a time: --step. A film: --animate, or --gif FILE.\n")
    bare, _ = terminal(["--padding", "1"], env={"NO_COLOR": "1"})
    assert "\x1b" not in bare and bare.isascii() and "[0 0 0]" in bare
    latin, _ = terminal(["--padding", "1"], env={"PYTHONIOENCODING": "latin-1"})
    assert "\x1b[30;46m" in latin and plain(latin).isascii()


def test_a_narrow_terminal_breaks_rows_not_lines() -> None:
    shown, _ = terminal(["--padding", "1", "--stride", "2"], columns=40)
    assert max(map(len, plain(shown).splitlines())) < 40
    assert "products" in shown


def test_step_goes_forth_and_back_and_ends() -> None:
    shown, code = terminal(["--stride", "2", "--step"], [b" ", b"b", b"\r", b"q"])
    assert code == 0
    assert re.findall(r"window (\d) of 4", plain(shown)) == ["1", "2", "1", "2"]
    through, code = terminal(["--stride", "2", "--step"], [b" "] * 4)
    assert code == 0 and re.findall(r"window (\d)", plain(through)) == list("1234")


def test_step_is_interrupted() -> None:
    shown, code = terminal(["--step"], [b" ", b"\x03"])
    assert code == 130 and shown.endswith("Interrupted.\n")


def test_animate_plays_in_its_place_and_gives_the_cursor_back() -> None:
    shown, code = terminal(["--stride", "2", "--animate", "--delay", "0.01"])
    assert code == 0 and shown.startswith("\x1b[?25l") and shown.rstrip().endswith("\x1b[?25h")
    assert re.findall(r"window (\d)", shown) == list("1234") and shown.count("\x1b[9A\x1b[J") == 3
    stopped, code = terminal(["--animate", "--delay", "30"], [b"\x03"], wait_for="= 10")
    assert code == 130 and "\x1b[?25h" in stopped and stopped.endswith("Interrupted.\n")


def test_a_scene_higher_than_the_terminal_is_cut() -> None:
    args = ["--input", "4x9x9", "--kernel", "3", "--stride", "3", "--animate", "--delay", "0.01"]
    shown, code = terminal(args)
    assert code == 0
    frames = plain(shown).split("conv2d: ")[1:]
    assert all(frame.rstrip("\n").count("\n") <= 22 for frame in frames)


def test_json_is_one_document(ptools: Run) -> None:
    shown = ptools("convdemo", "--gif", "x.gif", "--json").stdout
    assert json.loads(shown)["files"] == ["x.gif"]
    assert len(json.loads(shown)["demos"]) == 3
