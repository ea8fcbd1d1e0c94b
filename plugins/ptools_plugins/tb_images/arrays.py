"""Tensor and array files, and numbers of any kind -> pixels that can be shown.

entries(path, formats)   the images in a .npy, .npz, .pt, .pth or .safetensors file
guess(shape)             the dataformats of an array: HW, CHW, HWC, NHW, NCHW, NHWC
pixels(array)            uint8 (C, H, W) of one image, whatever its numbers are
scaled(tensor)           uint8 of numbers without a range of their own: the lowest is black

The letters are those of torch.utils.tensorboard's `dataformats`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools.errors import FileError, UsageError, cause, one_line
from ptools.files import failed

if TYPE_CHECKING:
    from torch import Tensor

    from ptools_plugins.tb_images.sources import Entry

__all__ = ["FORMATS", "SUFFIXES", "entries", "guess", "pixels", "scaled"]

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors")
FORMATS = ("HW", "CHW", "HWC", "NHW", "NCHW", "NHWC")
_COLOURS = (1, 3, 4)  # channels of an image: grey, RGB, RGB with transparency


def entries(path: Path, formats: str | None = None) -> list[Entry]:
    """Return the images in the arrays of a file, none of them copied yet.

    `formats` says what the dimensions are, instead of `guess`. Raises FileError, UsageError.
    """
    from ptools_plugins.tb_images.sources import Entry

    found: list[Entry] = []
    reasons: list[str] = []
    for name, array in _arrays(path):
        try:
            letters = _checked(tuple(array.shape), formats)
        except UsageError as error:
            reasons.append(f"{name}: {error}")
            continue
        batch = array if letters[0] == "N" else array[None]
        for index in range(len(batch)):
            number = f"/{index}" if len(batch) > 1 else ""
            read = partial(_one, batch, index, letters.removeprefix("N"), f"{path}: {name}")
            found.append(Entry(f"{name}{number}", None, path.stem, read))
    if not found:
        why = one_line(reasons[0], 200) if reasons else "there is no array in it"
        way = "; for a network, name its file with --weights" if path.suffix in SUFFIXES[2:] else ""
        raise FileError(f"{path} holds no images: {why}{way}.")
    return found


def guess(shape: tuple[int, ...]) -> str:
    """Return the dataformats of an array, by where its 1, 3 or 4 channels are.

    First is before last: (3, 32, 32) is CHW, (32, 32, 3) HWC, (3, 32, 3) CHW. Without either the first
    dimension counts grey images: NHW. Raises UsageError where there is no image in such a shape.
    """
    size = "x".join(map(str, shape)) or "one number"
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise UsageError(f"{size} is no image; wanted are 2 to 4 dimensions, as HxW or NxCxHxW.")
    if len(shape) == 2:
        return "HW"
    batch = "N" if len(shape) == 4 else ""
    if shape[-3] in _COLOURS:
        return f"{batch}CHW"
    if shape[-1] in _COLOURS:
        return f"{batch}HWC"
    if len(shape) == 3:
        return "NHW"
    return "NCHW"  # many channels: one grey image each


def _checked(shape: tuple[int, ...], formats: str | None) -> str:
    letters = formats or guess(shape)
    if len(letters) != len(shape) or 0 in shape:
        size = "x".join(map(str, shape)) or "one number"
        raise UsageError(f"--dataformats {letters} does not describe {size}; try {_way(shape)}.")
    return letters


def _way(shape: tuple[int, ...]) -> str:
    return " or ".join(f for f in FORMATS if len(f) == len(shape)) or "an array of images"


def _one(batch: Any, index: int, letters: str, where: str) -> Tensor:
    import torch

    image = batch[index] if torch.is_tensor(batch) else torch.as_tensor(_native(batch[index]))
    if letters == "HWC":
        image = image.permute(2, 0, 1)
    return pixels(image if image.dim() == 3 else image[None], where)


# -- the files ---------------------------------------------------------------------------------------


def _arrays(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix.lower() in (".npy", ".npz"):
        yield from _of_numpy(path)
    else:
        yield from _of_torch(path)


def _of_numpy(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the arrays; no pickle is opened, and what is not compressed is only mapped."""
    import numpy as np

    try:
        if path.suffix.lower() == ".npy":
            yield path.stem, _numbers(np.load(path, mmap_mode="c", allow_pickle=False))
            return
        _bounded(path)
        with np.load(path, allow_pickle=False) as held:
            for name in held.files:
                yield name, _numbers(held[name])
    except OSError as error:
        if error.errno:
            raise failed("read", path, error) from error
        raise FileError(
            f"{path} is no numpy file: {one_line(error, 120)}; save it again."
        ) from error
    except Exception as error:  # zipfile and numpy, on bytes of anybody
        raise FileError(f"{path} is no numpy file: {cause(error)[:120]}; save it again.") from error


def _bounded(path: Path) -> None:
    """Refuse an archive that would unpack to more than the memory has room for."""
    import zipfile

    from ptools.data import memory

    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > memory.free() // 2:
        raise ValueError(f"it unpacks to {size / 2**30:.1f} GiB, more than half of the free memory")


def _numbers(array: Any) -> Any:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it holds {array.dtype}, no real numbers")
    return array


def _native(array: Any) -> Any:
    """Return numbers of one image as torch computes with them, in the machine's own byte order."""
    kinds = {"u2": "int32", "u4": "int64", "u8": "float64"}
    kind = array.dtype.str[1:]
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # longdouble
        return array.astype("float64")
    return array.astype(kinds.get(kind, array.dtype.newbyteorder("=")), copy=False)


def _of_torch(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield what torch.save or safetensors wrote: a tensor, or several by name. Nothing in it is run."""
    import torch

    from ptools import checkpoints

    if path.suffix.lower() == ".safetensors":
        held: Any = checkpoints.read(path).tensors
    else:
        held = checkpoints.load(path)
    if torch.is_tensor(held):
        held = {path.stem: held}
    elif isinstance(held, (list, tuple)):
        held = {str(place): value for place, value in enumerate(held)}
    elif not hasattr(held, "items"):
        raise FileError(f"{path} holds a {type(held).__name__}, no tensors; save a tensor.")
    for name, value in held.items():
        if torch.is_tensor(value) and not value.is_complex() and value.layout == torch.strided:
            yield str(name), value.detach()


# -- the numbers -------------------------------------------------------------------------------------


def pixels(image: Tensor, where: str = "the image") -> Tensor:
    """Return one image (C, H, W) of 1, 3 or 4 channels as uint8 (1 or 3, H, W).

    bool becomes 0 and 255; uint8 stays; larger whole numbers up to 65535 lose their low 8 bits; of
    floats 0..1 and -1..1 are taken for what they are, 0..255 too, and others are `scaled`. Transparency
    is laid on white; other numbers of channels become grey images side by side. nan is black.
    """
    import torch

    if image.dtype == torch.bool:
        image = image.to(torch.uint8) * 255
    elif image.is_floating_point():
        image = _of_floats(image.float())
    elif image.dtype != torch.uint8:
        image = _of_whole(image.long())
    if len(image) == 4:
        opaque = image[3:].float() / 255
        image = (image[:3] * opaque + 255 * (1 - opaque)).round().to(torch.uint8)
    if len(image) not in (1, 3):
        from ptools_plugins.tb_images.grids import grid

        image = grid(list(image[:, None]))
    return image.contiguous()


def _of_floats(image: Tensor) -> Tensor:
    import torch

    image = image.nan_to_num(0.0)
    low, high = (float(end) for end in image.aminmax())
    if low >= -1e-6 and high <= 1 + 1e-6:
        image = image * 255
    elif low >= -1 - 1e-6 and high <= 1 + 1e-6:
        image = (image + 1) * 127.5
    elif low < 0 or high > 255:
        return scaled(image)
    return image.round().clamp(0, 255).to(torch.uint8)


def _of_whole(image: Tensor) -> Tensor:
    import torch

    low, high = (int(end) for end in image.aminmax())
    if low < 0 or high > 65535:
        return scaled(image.double())
    return (image >> 8 if high > 255 else image).to(torch.uint8)


def scaled(numbers: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Return numbers as uint8: `low` is 0, `high` is 255; the lowest and the highest, unless given."""
    import torch

    numbers = numbers.float().nan_to_num(0.0, 0.0, 0.0)
    low = float(numbers.min()) if low is None else low
    high = float(numbers.max()) if high is None else high
    span = high - low
    if not span > 0:
        return torch.full_like(numbers, 128, dtype=torch.uint8)
    return ((numbers - low) * (255 / span)).round().clamp(0, 255).to(torch.uint8)
