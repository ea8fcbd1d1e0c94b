"""ptools tb-images: images by themselves, as batches, as curves; the event file and what is refused."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as tensorboards

from ptools import data
from ptools.errors import UsageError
from ptools.testing import Run, assert_plugin_ok
from ptools_plugins.tb_images import encoding, events, grids, scalars, tb_images
from tests import tb_images as here

pytestmark = pytest.mark.usefixtures("place")


def test_the_promises_of_a_plugin(tiny_images: Path) -> None:
    assert_plugin_ok("tb-images", str(tiny_images), "--max", "2")


# -- every image by itself -------------------------------------------------------------------------------


def test_a_data_set_is_shown_pixel_by_pixel_a_tag_per_class(ptools: Run) -> None:
    done = ptools("tb-images", "digits", "--per-class", "2", "--out", "seen", "--json").document
    train = data.load("digits").train
    found = here.images("seen")
    assert len(found) == 20
    for label in range(10):
        own = train.pixels((train.labels == label).nonzero().flatten()[:2])
        for step in range(2):
            assert here.decoded(found[f"digits/{label}", step]).equal(own[step])
    assert done["command"].endswith("tensorboard --logdir seen --samples_per_plugin images=2")
    assert [tag["tag"] for tag in done["tags"]] == [f"digits/{label}" for label in range(10)]


def test_what_is_limited_comes_from_everywhere(ptools: Run) -> None:
    """digits are sorted by class: the first 20 would all be zeros."""
    tags = ptools("tb-images", "digits", "--max", "20", "--json").document["tags"]
    assert len(tags) == 10
    assert sum(tag["steps"] for tag in tags) == 20


def test_shuffled_images_are_those_of_the_seed(ptools: Run) -> None:
    def seen(name: str, *more: str) -> list[bytes]:
        ptools("tb-images", "digits", "--max", "8", "--tag", "a", "--out", name, *more)
        return list(here.images(name).values())

    assert seen("one", "--shuffle") == seen("again", "--shuffle", "--seed", "0")
    assert seen("one2", "--shuffle") != seen("other", "--shuffle", "--seed", "1")


def test_photographs_are_jpeg_everything_else_and_lossless_is_png(ptools: Run) -> None:
    folder = here.photos()
    mask = torch.zeros(1, 96, 96, dtype=torch.uint8)
    mask[:, 20:50, 30:70] = 255
    here.save(mask, folder / "bees" / "mask.png")
    ptools("tb-images", "photos", "--out", "usual")
    usual = here.images("usual")
    ptools("tb-images", "photos", "--out", "exact", "--lossless")
    exact = here.images("exact")
    assert list(usual) == list(exact)
    originals = [here.photo(seed=s) for s in (0, 1, 2, 10, 11, 12)] + [mask]
    for step, (one, two, true) in enumerate(
        zip(usual.values(), exact.values(), originals, strict=True)
    ):
        assert here.kind(one) == ("JPEG" if step < 6 else "PNG")
        assert here.kind(two) == "PNG"
        assert here.decoded(two).equal(true)
        assert (here.decoded(one).int() - true.int()).abs().float().mean() < 3
    assert sum(map(len, usual.values())) < sum(map(len, exact.values())) / 4


def test_grids_of_small_images_are_png(ptools: Run) -> None:
    """A JPEG would blend the borders of 32-pixel photographs."""
    for side, kind in ((32, "PNG"), (80, "JPEG")):
        torch.save(torch.stack([here.photo(side, side, seed) for seed in range(9)]), "some.pt")
        for more in ([], ["--transform", "RandomVerticalFlip()"]):
            args = ["some.pt", *more, "--batch-size", "9", "--out", "seen", "--force"]
            assert ptools("tb-images", *args).exit_code == 0
            assert [here.kind(data) for data in here.images("seen").values()] == [kind]


def test_small_images_are_png_however_colourful() -> None:
    assert not encoding.is_photo(here.photo(64, 200))
    assert encoding.is_photo(here.photo(65, 65))


def test_what_is_larger_than_any_jpeg_is_png() -> None:
    noise = torch.randint(256, (3, 65_501, 65), dtype=torch.uint8)
    content, kind = encoding.encode(noise)
    assert kind == "png"
    assert here.decoded(content).equal(noise)
    assert encoding.encode(noise[:, :65_500])[1] == "jpeg"


def test_a_tag_of_your_own_has_a_step_per_image(ptools: Run) -> None:
    here.photos()
    ptools("tb-images", "photos", "--tag", "train/ants", "--out", "seen")
    assert list(here.images("seen")) == [("train/ants", step) for step in range(6)]


def test_labels_are_drawn_where_asked_for(ptools: Run) -> None:
    here.photos()
    ptools("tb-images", "photos", "--labels", "--lossless", "--max", "1", "--out", "seen")
    ((_, shown),) = here.images("seen").items()
    image, own = here.decoded(shown), here.photo()
    assert image[:, :96].equal(own)
    below = grids.strip("ants", 128)
    assert image[:, 96:].equal(below.expand(3, -1, -1))
    assert (below < 100).sum() > 20  # there are letters
    assert not below.equal(grids.strip("bees", 128))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 5), (1, 7, 1), (3, 40, 33), (1, 300, 2)])
def test_png_files_are_the_pixels_whatever_the_filter(shape: tuple[int, ...]) -> None:
    noise = torch.randint(256, shape, dtype=torch.uint8)
    flat = torch.full(shape, 7, dtype=torch.uint8)
    for image in (noise, flat, noise[:, :, :1].expand(shape), noise[:, :1].expand(shape)):
        assert here.decoded(encoding.as_png(image)).equal(image)


# -- batches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "steps"), [([], 4), (["--drop-last"], 3)])
def test_batches_are_those_of_a_dataloader_a_grid_a_step(
    ptools: Run, more: list[str], steps: int
) -> None:
    args = ["--split", "test", "--max", "200", "--batch-size", "64", "--no-labels", *more]
    done = ptools("tb-images", "digits", *args, "--out", "seen", "--json").document
    test = data.load("digits").test
    assert test is not None
    found = here.images("seen")
    assert list(found) == [("digits/batch", step) for step in range(steps)]
    loader: Any = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(test.pixels(torch.arange(200))),
        batch_size=64,
        drop_last=bool(more),
    )
    for step, (batch,) in enumerate(loader):
        grid = here.decoded(found["digits/batch", step])
        for place, image in enumerate(batch):  # 8 pixels, and one between them
            top, left = (1 + 9 * side for side in divmod(place, 8 if step < 3 else 3))
            assert grid[:, top : top + 8, left : left + 8].equal(image)
    assert done["command"].endswith(f"images={steps}")


def test_labels_are_below_the_images_of_a_batch(ptools: Run) -> None:
    ptools("tb-images", "digits", "--shuffle", "--max", "4", "--batch-size", "4", "--out", "seen")
    ((_, shown),) = here.images("seen").items()
    grid = here.decoded(shown)
    train = data.load("digits").train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:4]
    for place, index in enumerate(order.tolist()):
        row, column = divmod(place, 2)
        top, left = 2 + row * (48 + 15 + 2), 2 + column * 50
        large = train.pixels(torch.tensor([index]))[0].repeat_interleave(6, 1)
        assert grid[:, top : top + 48, left : left + 48].equal(large.repeat_interleave(6, 2))
        label = grids.strip(str(int(train.labels[index])), 48)
        assert grid[:, top + 48 : top + 63, left : left + 48].equal(label)


def test_a_grid_is_no_larger_than_a_browser_shows(ptools: Run) -> None:
    for name in "abcd":
        here.save(torch.full((1, 100, 6000), 90, dtype=torch.uint8), Path("wide", f"{name}.png"))
    done = ptools("tb-images", "wide", "--batch-size", "4", "--columns", "2", "--out", "seen")
    assert done.exit_code == 0, done.stderr
    assert "images of 6000x100 are shown at 4096x68" in done.stderr
    (grid,) = here.images("seen").values()
    assert here.decoded(grid).shape[1:] == (2 * 68 + 6, 2 * 4096 + 6)


def test_drop_last_that_drops_everything_is_said(ptools: Run) -> None:
    done = ptools("tb-images", "digits", "--max", "5", "--batch-size", "8", "--drop-last")
    assert done.exit_code == 2
    assert "choose a smaller --batch-size" in done.stderr
    assert not Path("runs/tb-images-1").exists()


# -- curves ----------------------------------------------------------------------------------------------


def test_a_curve_has_a_value_for_every_step(ptools: Run) -> None:
    done = ptools("tb-images", "--scalar", "y=2*x", "--scalar", "s=sin(x/10)", "--out", "seen")
    assert done.exit_code == 0, done.stderr
    found = [(v.tag, e.step, v.simple_value) for e in here.events("seen") for v in e.summary.value]
    assert [value for tag, _, value in found if tag == "y"] == [2.0 * x for x in range(100)]
    assert len(found) == 200
    assert done.stdout.splitlines()[-1].endswith("--samples_per_plugin scalars=100")


@pytest.mark.parametrize(
    ("text", "x", "value"),
    [
        ("2*x+1", 3, 7),
        ("y=-x**2", 3, -9),
        ("y = exp(-x/10)", 0, 1),
        ("y=relu(x-5)", 3, 0),
        ("y=7 // 2 % 2 + pi - pi", 0, 1),
        ("y=10**x", 1000, float("inf")),
    ],
)
def test_formulas(text: str, x: float, value: float) -> None:
    assert scalars.parse(text)(x) == pytest.approx(value)


def test_what_has_no_value_is_nan() -> None:
    assert all(scalars.parse(t)(0) != scalars.parse(t)(0) for t in ("1/x", "log(x)", "(x-1)**0.5"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("y=__import__('os')", "knows no '__import__'"),
        ("y=sen(x)", "Did you mean 'sin'?"),
        ("y=z", "There are: x, pi, e"),
        ("y=x.real", "is no formula in x"),
        ("y=(x", "is no formula in x"),
        ("y=[x]", "is no formula in x"),
        ("=x", "has no name"),
        ("y=" + "(" * 5000 + "x", "is no formula in x"),
    ],
)
def test_what_is_no_arithmetic_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why.replace("?", r"\?")):
        scalars.parse(text)


# -- the event file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 4, 63, 64, 255, 256, 257, 1000, 70_000])
def test_checksums_are_tensorboards(size: int) -> None:
    content = os.urandom(size)
    assert events.crc32c(content) == tensorboards(content)


def test_the_checksum_of_the_standard() -> None:
    assert events.crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4


def test_results_come_in_order_whichever_is_ready_first() -> None:
    def slow(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number

    assert list(encoding.ordered(slow, iter(range(40)))) == list(range(40))


def test_few_images_wait_however_many_there_are() -> None:
    given = 0

    def many() -> Any:
        nonlocal given
        for number in range(1, 10_001):
            given = number
            yield number

    results = encoding.ordered(lambda number: number, many())
    assert [next(results) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert given <= 4 * encoding.cores() + 5
    results.close()  # type: ignore[attr-defined]


def test_a_failure_in_a_thread_leaves_neither_file_nor_folder(ptools: Run) -> None:
    Path("bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    done = ptools("tb-images", "bad.jpg")
    assert done.exit_code == 1
    assert "bad.jpg cannot be used: truncated" in done.stderr
    assert list(Path().rglob("*")) == [Path("bad.jpg")]


def test_a_full_disk_is_one_line_and_nothing_is_left() -> None:
    code = "import sys; from ptools.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "tb-images", "digits", "--max", "1000", "--out", "seen"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) <= 2
    assert "cannot write" in done.stderr
    assert not Path("seen").exists()


def test_nothing_is_overwritten_and_force_replaces(ptools: Run) -> None:
    assert ptools("tb-images", "digits", "--max", "3", "--out", "seen").exit_code == 0
    before = here.images("seen")
    again = ptools("tb-images", "digits", "--max", "5", "--out", "seen")
    assert again.exit_code == 1
    assert "--force" in again.stderr
    assert here.images("seen") == before
    assert ptools("tb-images", "digits", "--max", "5", "--out", "seen", "--force").exit_code == 0
    assert len(here.images("seen")) == 5


def test_every_call_has_a_folder_of_its_own(ptools: Run) -> None:
    folders = [ptools("tb-images", "digits", "--json").document["folder"] for _ in range(2)]
    assert folders == ["runs/tb-images-1", "runs/tb-images-2"]


def test_an_interrupted_call_leaves_nothing() -> None:
    images = torch.randint(256, (800, 3, 224, 224), dtype=torch.uint8)
    torch.save(images, "noise.pt")
    for _ in range(5):  # on a busy machine it may be done before the signal is sent
        shutil.rmtree("seen", ignore_errors=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "ptools", "tb-images", "noise.pt", "--max", "800", "--lossless",
             "--out", "seen"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while not list(Path().glob("seen/.*.tmp")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        if process.returncode:
            break
    assert process.returncode == 130
    assert said == "Interrupted.\n"
    assert not Path("seen").exists()


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["cifar11"], "Did you mean 'cifar10'?"),
        (["no/such.png"], "no/such.png does not exist"),
        (["digits", "--layers", "conv1"], "--layers is for a network"),
        (["digits", "--kernels"], "--kernels is for a network"),
        (["digits", "--variants", "3"], "--variants is for --transform"),
        (["digits", "--drop-last"], "--drop-last is for batches"),
        (["digits", "--port", "7000"], "--port is for a server"),
        (["digits", "--columns", "3"], "--columns is for grids"),
        (["digits", "--steps", "3"], "--steps is for curves"),
        (["digits", "--op", "ReLU()", "--labels"], "--labels is for images and batches"),
        ([""], "an image has no name"),
        (["digits", "--model", "cnn", "--op", "ReLU()"], "take it, or --model"),
        (["digits", "--model", "cnn", "--batch-size", "4"], "leave --batch-size out"),
        (["--scalar", "x", "--sheet", "a.png"], "--sheet has no curves"),
        (["--scalar", "x", "--split", "test"], "--split is for images"),
        (
            ["--scalar", "x", "--batch-size", "4", "--transform", "flip"],
            "--batch-size is for images",
        ),
        (["digits", "--size", "100000"], "at most 8192 pixels"),
        (["digits", "--dataformats", "HWC"], "--dataformats is for arrays"),
        (["a.npy", "--data-dir", "d"], "--data-dir is for data sets"),
        (
            ["digits", "--op", "ReLU()", "--max", "3", "--drop-last", "--batch-size", "4"],
            "leaves nothing",
        ),
        (["digits", "--sheet", "a.jpg"], "the name must end in .png"),
        (["digits", "--sheet", "a.png", "--lossless"], "leave --lossless out"),
        (["digits", "--sheet", "a.png", "--out", "b", "--scalar", "lambda"], "is no formula"),
    ],
)
def test_wrong_usage_is_one_line(ptools: Run, args: list[str], why: str) -> None:
    done = ptools("tb-images", *args)
    assert done.exit_code == 2
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(Path().glob("*"))


def test_a_part_that_is_not_there_is_named(ptools: Run) -> None:
    here.photos()
    done = ptools("tb-images", "photos", "--split", "test")
    assert done.exit_code == 2
    assert "photos has no test images; choose --split train or all" in done.stderr


def test_from_python() -> None:
    done = tb_images(images=("digits",), max=12, batch_size=6, out=Path("seen"))
    assert (done.images, done.samples) == (12, {"images": 2})
    assert done.tags[0].name == "digits/batch"
