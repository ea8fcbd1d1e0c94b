"""What an image for TensorBoard costs, beside torch.utils.tensorboard.SummaryWriter.

    python -m benchmarks.tb_images [--repeats 7]

Natural photographs, the two of scikit-learn cut into pieces, at 224 and 32 pixels, in memory as uint8.
Each case is a whole event file from the first image to the closed file, on one core, where the system
lets a process choose: CPU time (user + sys, all threads), interleaved, medians. Then the encoders alone.
The last columns are bytes of the file per image.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ptools_plugins.tb_images import encoding, writing
from ptools_plugins.tb_images.frames import Frame, same


class Cost(NamedTuple):
    """Milliseconds and bytes of one image."""

    cpu: float
    wall: float
    size: float


Way = Callable[[Sequence[Tensor], Path], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for side, zoom, count in ((224, 1.5, 80), (32, 6.0, 1500)):
        images = pieces(count, side, zoom)
        print(f"{count} images of {side}x{side}, whole event files")
        _table(measured(images, given.repeats, WAYS), "SummaryWriter.add_image")
        print(f"\nthe encoder alone, one image of {side}x{side}")
        _table(measured(images, given.repeats, ENCODERS), "SummaryWriter's: PNG, level 6")
        print()


def pieces(count: int, side: int, zoom: float) -> list[Tensor]:
    """Return `count` squares cut from photographs, `zoom` times as large, and made smaller."""
    from sklearn.datasets import load_sample_images

    photos = [torch.from_numpy(p.copy()).permute(2, 0, 1) for p in load_sample_images().images]
    random, cut = torch.Generator().manual_seed(0), int(side * zoom)
    found = []
    for index in range(count):
        photo = photos[index % len(photos)]
        top, left = (
            int(torch.randint(length - cut + 1, (1,), generator=random))
            for length in photo.shape[1:]
        )
        piece = photo[None, :, top : top + cut, left : left + cut]
        found.append(interpolate(piece, size=(side, side), mode="bilinear", antialias=True)[0])
    return [piece.contiguous() for piece in found]


# -- ways to make an event file ----------------------------------------------------------------------


def summary_writer(images: Sequence[Tensor], folder: Path) -> None:
    """Do as everybody does."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    for step, image in enumerate(images):
        writer.add_image("image", image, step)
    writer.close()


def tb_images(images: Sequence[Tensor], folder: Path, *, lossless: bool = False) -> None:
    """Do as the command does."""
    frames = (Frame("image", step, partial(same, image)) for step, image in enumerate(images))
    writing.write(folder / "events.out.tfevents.0.tb-images", frames, lossless=lossless)


WAYS: dict[str, Way] = {
    "SummaryWriter.add_image": summary_writer,
    "ptools tb-images": tb_images,
    "ptools tb-images --lossless": partial(tb_images, lossless=True),
}


# -- encoders ----------------------------------------------------------------------------------------


def _usual(images: Sequence[Tensor], folder: Path) -> None:
    from torch.utils.tensorboard.summary import image as summary

    made = [summary("image", image, dataformats="CHW") for image in images]  # type: ignore[no-untyped-call]
    (folder / "all").write_bytes(b"".join(m.value[0].image.encoded_image_string for m in made))


def _ours(images: Sequence[Tensor], folder: Path, *, lossless: bool) -> None:
    made = [encoding.encode(image, lossless=lossless)[0] for image in images]
    (folder / "all").write_bytes(b"".join(made))


ENCODERS: dict[str, Way] = {
    "SummaryWriter's: PNG, level 6": _usual,
    "tb-images: JPEG over 64 px": partial(_ours, lossless=False),
    "tb-images --lossless: PNG": partial(_ours, lossless=True),
}


# -- measuring ---------------------------------------------------------------------------------------


def measured(images: Sequence[Tensor], repeats: int, ways: dict[str, Way]) -> dict[str, Cost]:
    """Run every way `repeats` times, A B C A B C ..., after one warm-up; return the medians."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as place:
                cpu, wall = process_time(), perf_counter()
                way(images, Path(place))
                cpu, wall = process_time() - cpu, perf_counter() - wall
                size = sum(file.stat().st_size for file in Path(place).iterdir())
            if turn:
                each = len(images)
                costs[name].append(Cost(cpu / each * 1e3, wall / each * 1e3, size / each))
    return {
        name: Cost(*(statistics.median(column) for column in zip(*some, strict=True)))
        for name, some in costs.items()
    }


def _table(costs: dict[str, Cost], base: str) -> None:
    usual = costs[base]
    print(f"{'':32}{'CPU ms':>9}{'ratio':>8}{'wall ms':>9}{'bytes':>9}{'of':>7}")
    for name, cost in costs.items():
        ratio, share = usual.cpu / cost.cpu, cost.size / usual.size
        print(f"{name:32}{cost.cpu:9.3f}{ratio:7.1f}x{cost.wall:9.3f}{cost.size:9,.0f}{share:7.0%}")


if __name__ == "__main__":
    main()
