"""Picture files: a path -> a uint8 tensor of one geometry. For training and for predict alike.

Geometry            channels, height and width, and how a picture gets there
find(paths)         the picture files of files and folders, in natural order
look(path)          size, channels and oddity of a picture, from its head
decode(path, C)     a picture as it is: uint8 (C, h, w), upright, opaque, 8 bits
fit(image, ...)     the same at the geometry's height and width
read(path, ...)     decode and fit
PictureError        why a file gives no picture

What is no plain picture becomes one: the first frame of a GIF, CMYK as RGB, 16 bits as 8, transparency
laid on white, EXIF rotation applied. JPEG goes through torchvision's decoder where this torchvision has
one (it costs 3 ms to load by itself, importing torchvision 1.9 s) and through Pillow otherwise, as all
other formats. No dataset code is imported here.
"""

# A set may have a million paths, and pathlib takes several times as long as os.path.
# ruff: noqa: PTH110, PTH113, PTH114, PTH123

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools.data.walking import find
from ptools.errors import FileError, one_line

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")  # Pillow would run Ghostscript for others
PIXELS = 178_956_970  # more are a decompression bomb to Pillow too: half a gigabyte as RGB
__all__ = ["Geometry", "Look", "PictureError", "decode", "find", "fit", "look", "read"]

CROP, EXACT, NONE = "crop", "exact", "none"

GIF = "GIF: the first frame is used"
CMYK = "CMYK: converted to RGB"
DEEP = "16 bits: reduced to 8"
CLEAR = "transparency: laid on white"
TURNED = "EXIF rotation: turned upright"


@dataclass(frozen=True)
class Geometry:
    """How a picture becomes a tensor (channels, height, width): uint8, 1 channel or 3.

    resize `crop`: the short side becomes 256/224 of the size (torchvision's rule), the centre is cut
    out; `exact`: squeezed to the size, unchanged if it has it; `none`: it must have the size.
    """

    channels: int
    height: int
    width: int
    resize: str = CROP

    def document(self) -> dict[str, Any]:
        """Return it as plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def of(cls, document: object) -> Geometry:
        """Return what `document()` gave. Raises FileError for anything else."""
        if isinstance(document, Mapping):
            with suppress(TypeError, ValueError):
                made = cls(**document)
                sizes = made.channels, made.height, made.width
                known = made.channels in (1, 3) and made.resize in (CROP, EXACT, NONE)
                if known and all(type(n) is int and n > 0 for n in sizes):
                    return made
        raise FileError(
            f"{one_line(document, 80)} does not say how pictures become tensors; the file is damaged "
            f"or of another program."
        )


class PictureError(FileError):
    """A file that gives no picture; `reason` is short and the same for all of its kind."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(path, reason)  # both, as it travels between processes
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"{self.path} cannot be used: {self.reason}; replace or remove it."


class Look(NamedTuple):
    """What the head of a picture file tells. Height and width are those of the upright picture."""

    height: int
    width: int
    channels: int  # 1: grey
    oddity: str | None = None  # what decode() has to change: GIF, CMYK, DEEP, CLEAR, TURNED


# -- one picture ---------------------------------------------------------------------------------------


def look(path: str | Path) -> Look:
    """Return what the head of a picture tells, and whether its end is there.

    Raises PictureError. What is wrong in between is found by `decode`.
    """
    with _opened(path) as (picture, file):
        (width, height), odd = picture.size, _oddity(picture)
        file.seek(0)
        if picture.format == "PNG" and file.read(25)[24:] == b"\x10":
            odd = DEEP
        ends = _ENDS.get(picture.format or "")
        file.seek(-min(16, os.fstat(file.fileno()).st_size), os.SEEK_END)
        if ends is None or ends not in file.read():
            file.seek(0)
            picture.load()  # the only way to know
        if _turn(picture) in (5, 6, 7, 8):
            width, height = height, width
        grey = picture.mode in ("1", "L", "LA", "La") or picture.mode.startswith("I")
        return Look(height, width, 1 if grey else 3, odd)


def decode(path: str | Path, channels: int = 3, *, least: int | None = None) -> Tensor:
    """Return the picture as uint8 (channels, h, w), 1 channel or 3. Raises PictureError.

    `least`: its short side may be smaller than in the file, but not than this; a JPEG at least twice as
    large is then decoded at 1/2, 1/4 or 1/8 of its size, up to 4 times as fast.
    """
    if (image := _quick(path, channels, least)) is not None:
        return image
    with _opened(path) as (picture, _):
        if least and picture.format in ("JPEG", "MPO") and picture.mode in ("RGB", "L"):
            picture.draft("L" if channels == 1 else "RGB", (least, least))
        return _tensor(_plain(picture, channels))


def read(path: str | Path, geometry: Geometry) -> Tensor:
    """Return the picture at `path` as uint8 (C, H, W) of the geometry. Raises PictureError."""
    least = max(_scaled(geometry)) if geometry.resize == CROP else None
    image = decode(path, geometry.channels, least=least)
    if geometry.resize == NONE and image.shape[1:] != (geometry.height, geometry.width):
        size = f"{image.shape[2]}x{image.shape[1]}"
        raise PictureError(path, f"it is {size}, not {geometry.width}x{geometry.height}")
    return fit(image, geometry)


def fit(image: Tensor, geometry: Geometry) -> Tensor:
    """Return `image`, uint8 (C, h, w), at the geometry's height and width, antialiased."""
    size = height, width = geometry.height, geometry.width
    if geometry.resize != CROP:
        return image if tuple(image.shape[1:]) == size else _resized(image, size)
    tall, wide = _scaled(geometry)
    image = _middle(image, tall, wide)
    h, w = image.shape[1:]
    if tall * w <= wide * h:  # it is taller than wanted: the width decides
        image = _resized(image, (max(int(wide * h / w), height), wide))
    else:
        image = _resized(image, (tall, max(int(tall * w / h), width)))
    top, left = round((image.shape[1] - height) / 2), round((image.shape[2] - width) / 2)
    return image[:, top : top + height, left : left + width]


def _scaled(geometry: Geometry) -> tuple[int, int]:
    return round(geometry.height * 256 / 224), round(geometry.width * 256 / 224)


def _middle(image: Tensor, tall: int, wide: int) -> Tensor:
    """Cut off what no crop will show of a very long picture: resized it could fill the memory."""
    h, w = image.shape[1:]
    length = 4 * max(-(-h * wide // tall), 1), 4 * max(-(-w * tall // wide), 1)  # 4 times as long
    if w > length[0]:
        image = image[:, :, (w - length[0]) // 2 :][:, :, : length[0]]
    if h > length[1]:
        image = image[:, (h - length[1]) // 2 :][:, : length[1]]
    return image


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    from torch.nn.functional import interpolate

    if tuple(image.shape[1:]) == size:
        return image
    return interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]


# -- the decoders ------------------------------------------------------------------------------------

_ORIENTATION = 0x0112
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"RIFF", b"BM")


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Image.Image, Any]]:
    """Yield the picture, its pixels not read yet, and its file; whatever fails is a PictureError."""
    from PIL import Image

    if not os.path.isfile(path):
        lost = "a link that leads nowhere" if os.path.islink(path) else "no such file"
        raise PictureError(path, "no file" if os.path.exists(path) else lost)
    head = b""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about what is handled here
            head = file.read(4)
            file.seek(0)
            with Image.open(file, formats=FORMATS) as picture:
                if picture.width * picture.height > PIXELS:
                    raise Image.DecompressionBombError
                yield picture, file
    except PictureError:
        raise
    except Exception as error:  # decoders of many formats, files of anybody
        raise PictureError(path, _reason(error, head)) from error


def _reason(error: Exception, head: bytes) -> str:
    from PIL import Image, UnidentifiedImageError

    text = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {PIXELS:,} pixels"
    if isinstance(error, OSError) and error.errno:
        return (error.strerror or text).lower()
    if not head:
        return "zero bytes"
    if isinstance(error, UnidentifiedImageError):
        return "truncated" if head.startswith(_MAGIC) else "not an image"
    if isinstance(error, EOFError) or "truncated" in text or "broken" in text or "end of" in text:
        return "truncated"
    return f"damaged ({one_line(error, 80) or type(error).__name__})"


def _oddity(picture: Image.Image) -> str | None:
    if picture.format == "GIF":
        return GIF
    if picture.mode == "CMYK":
        return CMYK
    if picture.mode.startswith("I"):
        return DEEP
    if _transparent(picture):
        return CLEAR
    return TURNED if _turn(picture) in range(2, 9) else None


def _turn(picture: Image.Image) -> object:
    """Return the EXIF orientation, 1 to 8. Asked for one it has not, a PNG would decode everything."""
    if picture.format == "PNG" and not {"exif", "Raw profile type exif"} & set(picture.info):
        return 1
    return picture.getexif().get(_ORIENTATION, 1)


def _transparent(picture: Image.Image) -> bool:
    return picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info


def _plain(picture: Image.Image, channels: int) -> Image.Image:
    """Return it upright, opaque, with 8 bits."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        import numpy as np

        deep = np.asarray(picture).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("32-bit pixels")
        picture = Image.fromarray((deep >> 8).astype(np.uint8))
    elif picture.mode == "F":
        raise ValueError("floating-point pixels")
    elif _transparent(picture):
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture.convert("RGBA"))
        picture = white
    return picture.convert("L" if channels == 1 else "RGB")


def _tensor(picture: Image.Image) -> Tensor:
    import numpy as np
    import torch

    pixels = torch.from_numpy(np.array(picture))  # (h, w) or (h, w, 3)
    return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)


def _quick(path: str | Path, channels: int, least: int | None) -> Tensor | None:
    """Decode a sound grey or colour JPEG with torchvision; None where Pillow has to look at it."""
    decoder = _decoder()
    if decoder is None or not os.path.isfile(path):
        return None
    with suppress(OSError, IndexError, RuntimeError), open(path, "rb") as file:
        if file.read(3) != b"\xff\xd8\xff":
            return None
        file.seek(0)
        data = file.read()
        height, width, stored = _frame(data)
        small = least is None or min(height, width) < 2 * least
        if small and stored in (1, 3) and 0 < height * width <= PIXELS:
            return decoder(data, channels)
    return None


def _frame(data: bytes) -> tuple[int, int, int]:
    """Return height, width and components of a JPEG, from its frame header (ITU T.81, B.2.2)."""
    at = 2
    while data[at] == 0xFF:
        kind = data[at + 1]
        if kind in _FRAMES:
            height, width = data[at + 5 : at + 7], data[at + 7 : at + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big"), data[at + 9]
        at += 1 if kind == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0, 0


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@cache
def _decoder() -> Callable[[bytes, int], Tensor] | None:
    """Return torchvision's JPEG decoder, or None: it is deprecated and may be gone one day."""
    from importlib.util import find_spec

    import torch

    spec = find_spec("torchvision")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for file in [*Path(folder).glob("image*.so"), *Path(folder).glob("image*.pyd")]:
            with suppress(OSError, RuntimeError, AttributeError):
                torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
                op: Any = torch.ops.image.decode_jpeg
                if len(op.default._schema.arguments) == 3:
                    return lambda data, channels: op(
                        torch.frombuffer(bytearray(data), dtype=torch.uint8), channels, True
                    )
    return None
