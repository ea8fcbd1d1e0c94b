"""ptools convdemo: films, sheets, photos; the animations of conv_arithmetic; the pictures of the docs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ptools.testing import Run
from ptools_plugins.convdemo import demos, photo, tiles, views
from ptools_plugins.convdemo.paint import Painter
from ptools_plugins.convdemo.scenes import Scene

pytestmark = pytest.mark.usefixtures("place")
DOCS = Path(__file__).parent.parent / "docs"


def page(shown: list[Scene], index: int, size: tuple[int, int]) -> Any:
    """Paint one scene by itself, in colour."""
    found = Image.new("L", size, tiles.EMPTY)
    Painter(shown).paint(found, shown[index])
    found.putpalette(tiles.palette())
    return found.convert("RGB")


FILMS = [
    ({"stride": (2,), "padding": (1,)}, [], "windows"),
    ({"op": "max", "ceil": True}, [], "windows"),
    ({"input": "2x4x5", "out_channels": 2, "bias": "1 2", "relu": True}, [], "windows"),
    ({"op": "avg", "input": "3x9", "kernel": "2"}, ["--backward"], "gradients"),
    ({"stride": (1,)}, ["--im2col"], "product"),
]


def options(asked: dict[str, Any]) -> list[str]:
    found = []
    for name, value in asked.items():
        text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        found += [f"--{name.replace('_', '-')}", *([] if value is True else [text])]
    return found


@pytest.mark.parametrize(("asked", "view", "name"), FILMS, ids=[str(f[0]) for f in FILMS])
def test_every_frame_of_a_film_is_its_scene(
    ptools: Run, asked: dict[str, Any], view: list[str], name: str
) -> None:
    done = ptools("convdemo", *options(asked), *view, "--gif", "film.gif", "--delay", "0.25")
    assert re.fullmatch(r"film\.gif: [\d.]+ [kM]?B\n", done.stdout), done.stderr
    (demo,) = demos(**asked)
    more = {"steps": True} if name == "product" else {}
    shown = list(getattr(views, name)(demo, **more))
    with Image.open("film.gif") as film:
        assert getattr(film, "n_frames") == len(shown)  # noqa: B009  (Pillow's type lacks it)
        assert film.info["loop"] == 0
        for index in range(len(shown)):
            film.seek(index)
            assert film.info["duration"] == (250 if index < len(shown) - 1 else 2000)
            assert film.convert("RGB").tobytes() == page(shown, index, film.size).tobytes(), index


def test_a_sheet_has_every_scene(ptools: Run) -> None:
    ptools("convdemo", "--stride", "2", "--png", "sheet.png")
    shown = list(views.windows(demos(stride=(2,))[0]))
    painter = Painter(shown)
    sheet = Image.open("sheet.png").convert("RGB")
    columns = sheet.width // painter.width
    for index in range(4):
        left, top = index % columns * painter.width, index // columns * painter.height
        part = sheet.crop((left, top, left + painter.width, top + painter.height))
        assert part.tobytes() == page(shown, index, part.size).tobytes()


@pytest.mark.parametrize("kernel", ["1 2; 3 4", "-1000 0.123; 1/3 99999", "blur"])
def test_no_number_is_clipped(kernel: str) -> None:
    shown = list(views.windows(demos(input="12x14", kernel=kernel)[0]))
    painter = Painter(shown)
    for scene in shown:
        for r, row in enumerate(scene.rows):
            for i, item in enumerate(row):
                if not isinstance(item, str):
                    place = painter.places[r, i]
                    longest = max((c.text for line in item.cells for c in line), key=len)
                    assert tiles.length(longest, place.height // 2) <= place.width - 6
                    assert place.x + place.width * len(item.cells[0]) <= painter.width


def test_a_large_input_is_a_film_too(ptools: Run) -> None:
    assert ptools("convdemo", "--input", "20x20", "--stride", "4", "--gif", "x.gif").exit_code == 0
    with Image.open("x.gif") as film:
        assert film.width <= 1240 and getattr(film, "n_frames") == 25  # noqa: B009


def test_nothing_is_overwritten_unasked(ptools: Run) -> None:
    Path("x.gif").write_text("mine")
    done = ptools("convdemo", "--gif", "x.gif")
    assert done.exit_code == 1 and "x.gif exists" in done.stderr
    assert Path("x.gif").read_text() == "mine"
    assert ptools("convdemo", "--gif", "x.gif", "--force").exit_code == 0


# -- photos ------------------------------------------------------------------------------------------


def drawn(name: str, size: tuple[int, int] = (60, 40), mode: str = "RGB") -> Any:
    """Write and return a picture of noise and a bright square."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 60, (size[1], size[0], 3), np.uint8)
    pixels[10:20, 15:30] += 150
    image = Image.fromarray(pixels).convert(mode)
    image.save(name)
    return np.asarray(image, np.int64).reshape(size[1], size[0], -1).transpose(2, 0, 1)


@pytest.mark.parametrize("kernel", ["edge", "sharpen", "blur", "sobel-x", "sobel-y", "emboss"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_photo_is_that_of_torch(ptools: Run, kernel: str, mode: str) -> None:
    pixels = torch.tensor(drawn("photo.png", mode=mode), dtype=torch.float64)
    done = ptools(
        "convdemo", "--image", "photo.png", "--kernel", kernel, "--save", "out.png", "--json"
    )
    assert done.exit_code == 0, done.stderr
    found = photo.filtered({"kernel": kernel}, Path("photo.png"))
    weight = torch.tensor(found.whole.layer.weight, dtype=torch.float64)
    theirs = F.conv2d(pixels[None], weight, groups=len(pixels))[0].numpy()
    assert np.array_equal(found.whole.output, theirs)
    seen = np.abs(theirs) if abs(weight[0].sum()) < 1e-9 else theirs
    saved = np.asarray(Image.open("out.png")).reshape(*theirs.shape[1:], -1).transpose(2, 0, 1)
    assert np.array_equal(saved, np.clip(np.rint(seen), 0, 255))
    assert done.document["photo"]["max"] == theirs.max()


@pytest.mark.parametrize(
    "asked",
    [
        {"kernel": "edge"},
        {"kernel": "edge", "padding": (3,), "stride": (2,), "dilation": (2,)},
        {"kernel": "blur", "padding": "same", "padding_mode": "reflect", "sigmoid": True},
        {"op": "max", "kernel": "3", "padding": (1,), "ceil": True},
        {"op": "avg", "kernel": "4x2", "exclude_pad": True, "padding": (1,)},
        {"op": "transpose", "kernel": "sharpen", "stride": (2,), "padding": (1,)},
        {"kernel": "1 2; 3 4 | 1 1; 1 1 | 0 0; 0 -1", "groups": 1, "bias": "5"},
    ],
    ids=str,
)
def test_the_nine_windows_are_those_of_the_photo(asked: dict[str, Any]) -> None:
    drawn("photo.png")
    found = photo.filtered(asked, Path("photo.png"))
    out, y, x = found.at
    (_, below, beside) = found.crop.window(found.window).at
    top, left = y - below, x - beside
    height, width = found.crop.shape[1:]
    part = found.whole.output[out, top : top + height, left : left + width]
    assert (height, width) == (3, 3) and np.array_equal(found.crop.output[0], part)


def test_the_strongest_window_is_shown(ptools: Run) -> None:
    drawn("photo.png")
    shown = ptools("convdemo", "--image", "photo.png", "--kernel", "edge").stdout
    found = photo.filtered({"kernel": "edge"}, Path("photo.png"))
    strongest = "strongest at channel {}, row {}, column {}".format(*found.at)
    assert strongest in shown and "(a picture shows their absolute values)" in shown
    assert shown.endswith(f"= {found.whole.output[found.at]}\n")
    assert len(re.findall("^window", shown, re.M)) == 1


def test_before_kernel_after(ptools: Run) -> None:
    drawn("photo.jpg", (900, 300))
    done = ptools("convdemo", "--image", "photo.jpg", "--png", "sheet.png", "--gif", "film.gif")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()[-2:]] == [
        "film.gif",
        "sheet.png",
    ]
    sheet = np.asarray(Image.open("sheet.png"))
    assert sheet.shape[1] < 1100 and sheet.dtype == np.uint8
    with Image.open("film.gif") as film:
        assert getattr(film, "n_frames") == 9  # noqa: B009


def test_photos_of_all_kinds(ptools: Run) -> None:
    for name, mode in (("1.png", "1"), ("la.png", "LA"), ("p.gif", "P"), ("rgba.png", "RGBA")):
        drawn("rgb.png")
        Image.open("rgb.png").convert(mode).save(name)
        assert ptools("convdemo", "--image", name, "--save", f"out-{name}.png").exit_code == 0
    Image.fromarray(np.full((9, 9), 30_000, np.uint16)).save("16.png")
    found = ptools("convdemo", "--image", "16.png", "--kernel", "blur", "--json").document
    assert found["photo"]["max"] == 117
    Image.new("L", (2, 2)).save("tiny.png")
    done = ptools("convdemo", "--image", "tiny.png")
    assert done.exit_code == 2 and "the kernel covers 3 rows" in done.stderr
    assert ptools("convdemo", "--image", "tiny.png", "--padding", "1").exit_code == 0
    Image.new("RGB", (3000, 10)).save("wide.png")
    assert (
        "wide.png, 3x1024 of 10x3000, 3 channels"
        in ptools("convdemo", "--image", "wide.png").stdout
    )


def test_what_is_no_photo_is_one_line(ptools: Run) -> None:
    drawn("photo.png")
    whole = Path("photo.png").read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    Path("text.png").write_text("no picture")
    Path("empty.jpg").touch()
    for name in ("cut.png", "text.png", "empty.jpg"):
        done = ptools("convdemo", "--image", name)
        assert done.exit_code == 1 and done.stderr.count("\n") == 1
        assert f"{name} is no picture that can be read" in done.stderr
    missing = ptools("convdemo", "--image", "none.png")
    assert missing.exit_code == 2 and "none.png" in missing.stderr
    both = ptools("convdemo", "--image", "photo.png", "--input", "5x5")
    assert both.exit_code == 2 and "take one of them" in both.stderr
    columns = ptools("convdemo", "--image", "photo.png", "--im2col", "--png", "x.png")
    assert (
        columns.exit_code == 2 and "--png of a photo is before, kernel and after" in columns.stderr
    )
    named = ptools("convdemo", "--image", "photo.png", "--save", "x.doc")
    assert named.exit_code == 2 and "end the name in .png or .jpg" in named.stderr


def test_a_picture_that_would_fill_the_memory_is_refused(ptools: Run) -> None:
    size = (40_000).to_bytes(4, "big") * 2
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", size + b"\x08\x02\0\0\0") + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    Path("bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IEND", b""))
    done = ptools("convdemo", "--image", "bomb.png")
    assert done.exit_code == 1 and done.stderr.count("\n") == 1 and "bomb.png" in done.stderr


# -- the docs ------------------------------------------------------------------------------------------

# bin/generate_makefile of vdumoulin/conv_arithmetic: input, output, kernel, stride, padding
ARITHMETIC = [
    (4, 2, 3, 1, 0), (5, 6, 4, 1, 2), (5, 5, 3, 1, 1), (5, 7, 3, 1, 2), (5, 2, 3, 2, 0),
    (5, 3, 3, 2, 1), (6, 3, 3, 2, 1),
]  # fmt: skip


def animations() -> list[list[str]]:
    text = (
        (DOCS / "convdemo.md").read_text().partition("## The animations")[2].partition("\n## ")[0]
    )
    return [shlex.split(line)[2:] for line in re.findall(r"^\$ (.*)$", text, re.M)]


def test_the_animations_of_conv_arithmetic(ptools: Run) -> None:
    lines = animations()
    assert len(lines) == 15
    for index, args in enumerate(lines):
        assert ptools("convdemo", *args, "--gif", f"{index}.gif").exit_code == 0
        (found,) = ptools("convdemo", *args, "--json").document["demos"]
        x, w = (torch.tensor(found[key], dtype=torch.float64) for key in ("input", "weight"))
        size, out, kernel, stride, padding = (*ARITHMETIC, (7, 3, 3, 1, 0))[
            index % 7 if index < 14 else 7
        ]
        assert w.shape == (1, 1, kernel, kernel)
        if 7 <= index < 14:
            odd = (size + 2 * padding - kernel) % stride
            theirs = F.conv_transpose2d(x[None], w, None, stride, padding, odd)
            size, out = out, size
        else:
            theirs = F.conv2d(x[None], w, None, stride, padding, 2 if index == 14 else 1)
        assert x.shape == (1, size, size) and theirs.shape == (1, 1, out, out)
        assert np.array_equal(found["output"], theirs[0].numpy())
        with Image.open(f"{index}.gif") as film:
            assert getattr(film, "n_frames") == out * out  # noqa: B009


def test_the_pictures_of_the_docs_are_made_by_the_commands_shown(ptools: Run) -> None:
    page = (DOCS / "convdemo.md").read_text()
    pictures = sorted((DOCS / "pictures").glob("convdemo-*"))
    assert len(pictures) >= 5
    for picture in pictures:
        assert f"(pictures/{picture.name})" in page
        assert picture.stat().st_size < 150_000, picture
        file = picture.name.removeprefix("convdemo-")
        (line,) = re.findall(rf"^\$ (ptools convdemo .*{re.escape(file)}.*)$", page, re.M)
        if "--image" in line:
            continue
        assert ptools(*shlex.split(line)[1:], "--force").exit_code == 0
        with Image.open(file) as made, Image.open(picture) as kept:
            assert made.size == kept.size
            assert getattr(made, "n_frames", 1) == getattr(kept, "n_frames", 1)
