"""A photo through a layer: the whole result, and the place where it answers most.

read(path)             (C, H, W), C 1 or 3, values 0 to 255, at most 1024 pixels a side
filtered(asked, path)  Photo: input, output, and a demo of nine windows from its midst
picture(values, ...)   the output as something to look at
sheet(photo)           before, kernel, after, as one PNG
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools.errors import FileError, UsageError, cause
from ptools_plugins.convdemo.arithmetic import Demo
from ptools_plugins.convdemo.build import layer_of
from ptools_plugins.convdemo.layer import Layer, Line

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image as Picture

    Array = npt.NDArray[Any]

_SIDE, _PANEL, _PIXELS, _WORK = 1024, 400, 200_000_000, 4_000_000_000


class Photo(NamedTuple):
    """A photo, what became of it, and where to look."""

    path: Path
    whole: Demo
    crop: Demo  # 3x3 windows, the strongest in the middle where there is room
    at: tuple[int, int, int]  # its output cell in the whole
    window: int  # its number in the crop
    scale: tuple[int, int]  # (width, height) of the file

    def document(self) -> dict[str, Any]:
        """Return what --json says of the photo, without its many values."""
        output = self.whole.output
        return {
            "file": str(self.path),
            "file_size": self.scale,
            "input_shape": self.whole.layer.input.shape,
            "output_shape": output.shape,
            "min": output.min().item(),
            "max": output.max().item(),
            "mean": output.mean().item(),
            "strongest": self.at,
        }


def read(path: Path) -> tuple[Array, tuple[int, int]]:
    """Return (C, H, W) of a picture file and its size. Raises FileError for anything else."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            size = file.size
            if size[0] * size[1] > _PIXELS:
                raise FileError(f"{path} is {size[0]}x{size[1]}: too large; make it smaller first.")
            file.draft("RGB", (_SIDE, _SIDE))
            image = ImageOps.exif_transpose(file)
            grey = image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I")
            if image.mode.startswith("I"):  # 16 bits
                image = image.point(lambda value: value * (1 / 256))
            image = image.convert("L" if grey else "RGB")
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        if isinstance(error, FileNotFoundError):
            raise FileError(f"{path} does not exist; check the path.") from error
        raise FileError(
            f"{path} is no picture that can be read ({cause(error)}); name a PNG or JPEG file."
        ) from error
    image.thumbnail((_SIDE, _SIDE))
    array = np.asarray(image, np.int64)
    return (array[None] if array.ndim == 2 else array.transpose(2, 0, 1)), size


def filtered(asked: Mapping[str, Any], path: Path) -> Photo:
    """Return a photo after a layer. One plane as the kernel goes over each channel by itself."""
    image, size = read(path)
    asked = dict(asked)
    if (asked.get("op") or "conv") in ("conv", "transpose"):
        asked["kernel"] = asked.get("kernel") or "edge"
        if asked.get("groups") is None and "|" not in asked["kernel"]:
            asked["groups"] = len(image)
    whole = Demo(layer_of(asked, image))
    kernel, channels = whole.layer.kernel, len(image)
    if whole.count * kernel[0] * kernel[1] * channels > _WORK:
        raise UsageError(
            "that is too much work for a photo: take a smaller kernel or a larger stride."
        )
    return _look(path, whole, size)


def _look(path: Path, whole: Demo, size: tuple[int, int]) -> Photo:
    """Find the strongest answer and cut nine windows around it out of the padded input.

    Windows on the padding are left out where there are others: the photo's rim is no edge in it.
    """
    import numpy as np

    ranges = [_inside(line) for line in whole.lines]
    if not all(ranges):  # a photo as small as the kernel
        number = int(np.abs(whole.before).argmax())
        return Photo(path, whole, whole, whole.window(number).at, number, size)
    rows, columns = ranges
    part = np.abs(whole.before[:, rows.start : rows.stop, columns.start : columns.stop])
    out, y, x = (int(i) for i in np.unravel_index(int(part.argmax()), part.shape))
    at = out, y + rows.start, x + columns.start
    cuts, windows = [], []
    for line, inside, here in zip(whole.lines, ranges, at[1:], strict=True):
        first = max(inside.start, min(here - 1, inside.stop - 3))
        count = min(3, inside.stop - first)
        reach = (count - 1) * line.step + (line.taps - 1) * line.dilation + 1
        cuts.append(slice(first * line.step, first * line.step + reach))
        windows.append((here - first, count))
    (below, _), (beside, width) = windows
    return Photo(path, whole, _cut(whole, out, cuts), at, below * width + beside, size)


def _inside(line: Line) -> range:
    """Return the windows that lie within the input, between its first cell and its last."""
    real = [place for place, here in enumerate(line.real) if here]
    within = [
        index
        for index in range(line.windows)
        if real and line.window(index)[0] >= real[0] and line.window(index)[-1] <= real[-1]
    ]
    return range(within[0], within[-1] + 1) if within else range(0)


def _cut(whole: Demo, out: int, cuts: list[slice]) -> Demo:
    """Return the same layer, for one output channel, on a part of the padded input."""
    layer = whole.layer
    number = (out * whole.shape[1]) * whole.shape[2]
    channels = whole.window(number).channels
    steps = tuple(line.step for line in whole.lines)
    return Demo(
        Layer(
            "conv" if layer.op == "transpose" else layer.op,
            whole.extended[channels.start : channels.stop, cuts[0], cuts[1]],
            layer.kernel,
            None if whole.weight is None else whole.weight[out : out + 1],
            bias=None if layer.bias is None else layer.bias[out : out + 1],
            stride=(steps[0], steps[1]),
            dilation=layer.dilation,
            after=layer.after,
        )
    )


def picture(demo: Demo) -> Picture:
    """Return the output as a picture; several channels that are no colours lie side by side.

    Values are cut to 0 and 255; where the kernel sums to 0, as those of edges do, their absolute
    values are; those of sigmoid are stretched from 1 to 255.
    """
    import numpy as np
    from PIL import Image

    values = demo.output.astype(float)
    if demo.layer.after == "sigmoid":
        values = values * 255
    elif answers_both_ways(demo):
        values = np.abs(values)
    pixels = np.clip(np.rint(np.nan_to_num(values)), 0, 255).astype(np.uint8)
    if len(pixels) == 3 and len(demo.layer.input) == 3 and demo.layer.groups in (1, 3):
        return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return Image.fromarray(np.concatenate(list(pixels), axis=1))


def answers_both_ways(demo: Demo) -> bool:
    """Whether the kernel sums to 0: flat places give 0, edges a number of either sign."""
    weight = demo.weight
    return weight is not None and bool((abs(weight.sum((1, 2, 3))) < 1e-9).all())


def encoded(image: Picture, path: Path) -> bytes:
    """Return the bytes of a picture in the format that the file's name says."""
    from PIL import Image

    Image.init()
    kind = Image.EXTENSION.get(path.suffix.lower(), "")
    if kind not in Image.SAVE:
        raise UsageError(f"--save {path.name}: end the name in .png or .jpg.")
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def sheet(photo: Photo) -> bytes:
    """Return one picture: before, the kernel, after."""
    import numpy as np
    from PIL import Image

    from ptools_plugins.convdemo import paint, scenes

    pixels = photo.whole.layer.input.astype(np.uint8)
    channels = 0 if len(pixels) == 1 else slice(None)
    before = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., channels]))
    after = picture(photo.whole)
    for image in (before, after):
        image.thumbnail((_PANEL, _PANEL))
    weight = photo.whole.weight
    kernel = photo.whole.layer.kernel
    if weight is None:
        names = [[scenes.Cell(photo.whole.layer.op, scenes.KERNEL)]]
        grid = scenes.Grid(f"window {kernel[0]}x{kernel[1]}", names)
    else:
        grid = scenes.plain("kernel", weight[0, 0], scenes.KERNEL)
    scene = scenes.Scene(scenes.heading(photo.whole), [["*", grid, "->"]])
    return _side_by_side(before, paint.Painter([scene]), scene, after)


def _side_by_side(before: Picture, painter: Any, scene: Any, after: Picture) -> bytes:
    from PIL import Image

    from ptools_plugins.convdemo import tiles

    middle = Image.new("L", (painter.width, painter.height), tiles.EMPTY)
    painter.paint(middle, scene)
    middle.putpalette(tiles.palette())
    top, gap = 44, 16
    strip = middle.crop((gap, 38, painter.content + gap, painter.height)).convert("RGB")
    height = max(before.height, after.height, strip.height)
    width = max(before.width + strip.width + after.width + 2 * gap, painter.width)
    page = Image.new("RGB", (width, height + top + gap), tiles.WHITE)
    page.paste(middle.crop((0, 0, painter.width, 38)).convert("RGB"), (0, 0))
    page.paste(before, (gap, top))
    page.paste(strip, (gap + before.width, top + max(0, (height - strip.height) // 2)))
    page.paste(after, (gap + before.width + strip.width, top))
    file = io.BytesIO()
    page.save(file, "PNG", optimize=True)
    return file.getvalue()
