"""Picture files: every odd kind becomes a plain picture, or is named with its reason."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ptools.data import Geometry, PictureError, pictures
from ptools.errors import FileError

RANDOM = np.random.default_rng(0)


def photo(width: int = 100, height: int = 60, channels: int = 3) -> Image.Image:
    """A smooth picture, so that JPEG keeps it: what a decoder does to it can be compared."""
    small = RANDOM.integers(0, 256, (4, 5, channels), dtype=np.uint8)
    picture = Image.fromarray(small if channels == 3 else small[:, :, 0])
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def saved(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


def difference(path: Path, picture: Image.Image, channels: int = 3) -> float:
    """Return the mean difference of what decode gives and of `picture`, in 0..255."""
    made = pictures.decode(path, channels)
    assert made.dtype.itemsize == 1 and made.dim() == 3
    wanted = np.asarray(picture.convert("L" if channels == 1 else "RGB")).astype(float)
    got = made.permute(1, 2, 0).numpy().astype(float)
    return float(np.abs(got.squeeze() - wanted).mean())


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_plain_pictures(tmp_path: Path, ending: str, channels: int) -> None:
    for stored in (1, 3):
        picture = photo(channels=stored)
        path = saved(tmp_path / f"{stored}.{ending}", picture, quality=95)
        assert difference(path, picture, channels) < 3
        look = pictures.look(path)
        assert look[:2] == (60, 100)
        assert look.oddity is None
        assert look.channels == (3 if ending == "webp" else stored)


def test_a_gif_is_its_first_frame(tmp_path: Path) -> None:
    frames = [photo().quantize(256) for _ in range(3)]
    path = tmp_path / "named.jpg"
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])
    assert difference(path, frames[0]) < 1
    assert pictures.look(path).oddity == pictures.GIF


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    picture = photo()
    path = saved(tmp_path / "a.jpg", picture.convert("CMYK"), quality=95)
    assert difference(path, picture) < 4
    assert pictures.look(path).oddity == pictures.CMYK


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 6000).reshape(60, 100).astype(np.uint16)
    path = saved(tmp_path / "a.png", Image.fromarray(deep))
    assert difference(path, Image.fromarray((deep >> 8).astype(np.uint8)), 1) == 0
    assert pictures.look(path) == (60, 100, 1, pictures.DEEP)
    colour = tmp_path / "b.png"
    colour.write_bytes(deep_png(RANDOM.integers(0, 65536, (5, 7, 3), dtype=np.uint16)))
    assert pictures.look(colour) == (5, 7, 3, pictures.DEEP)
    assert pictures.decode(colour).shape == (3, 5, 7)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deep_png(pixels: np.ndarray) -> bytes:
    """Write a 16-bit RGB PNG: Pillow cannot."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    picture = photo().quantize(8)
    hole = int(np.asarray(picture)[0, 0])
    path = saved(tmp_path / "a.png", picture, transparency=hole)
    solid = np.asarray(picture.convert("RGB")).copy()
    solid[np.asarray(picture) == hole] = 255
    assert difference(path, Image.fromarray(solid)) == 0
    assert pictures.look(path).oddity == pictures.CLEAR
    clear = photo().convert("RGBA")
    clear.putalpha(0)
    assert int(pictures.decode(saved(tmp_path / "b.png", clear)).min()) == 255


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_exif_rotation_is_applied(tmp_path: Path, turn: int, ending: str) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = turn
    path = saved(tmp_path / f"a.{ending}", photo(), exif=exif, quality=95)
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
    assert difference(path, upright) < 1
    look = pictures.look(path)
    assert (look.width, look.height) == upright.size
    assert look.oddity == (pictures.TURNED if turn > 1 else None)


def broken(tmp_path: Path) -> dict[str, bytes]:
    jpeg = saved(tmp_path / "good.jpg", photo()).read_bytes()
    png = saved(tmp_path / "good.png", photo()).read_bytes()
    return {
        "": b"",
        "half.jpg": jpeg[: len(jpeg) // 2],
        "head.jpg": jpeg[:30],
        "half.png": png[: len(png) // 2],
        "text.jpg": b"hello",
        "bomb.png": png[:8]
        + chunk(b"IHDR", struct.pack(">II", 60000, 60000) + png[24:29])
        + png[33:],
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "zero bytes"),
        ("half.jpg", "truncated"),
        ("head.jpg", "truncated"),
        ("half.png", "truncated"),
        ("text.jpg", "not an image"),
        ("bomb.png", "more than 178,956,970 pixels"),
    ],
)
def test_broken_files_have_a_reason(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / (name or "zero.jpg")
    path.write_bytes(broken(tmp_path)[name])
    for function in (pictures.look, pictures.decode):
        with pytest.raises(PictureError) as error:
            function(path)
        assert error.value.reason == reason
        assert str(error.value) == f"{path} cannot be used: {reason}; replace or remove it."
    copy = pickle.loads(pickle.dumps(error.value))
    assert (copy.path, copy.reason) == (str(path), reason)


def test_files_that_are_none(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "gone.jpg", "no such file"), (tmp_path, "no file")):
        with pytest.raises(PictureError) as error:
            pictures.decode(path)
        assert error.value.reason == reason
    floats = Image.fromarray(np.zeros((4, 4), np.float32))
    with pytest.raises(PictureError, match="floating-point pixels"):
        pictures.decode(saved(tmp_path / "f.tif", floats))


@pytest.mark.parametrize("cut", range(0, 2000, 97))
def test_any_cut_of_a_file_raises_nothing_else(tmp_path: Path, cut: int) -> None:
    buffer = io.BytesIO()
    photo().save(buffer, ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")[cut % 6])
    path = tmp_path / "a.jpg"
    path.write_bytes(buffer.getvalue()[:cut])
    for function in (pictures.look, pictures.decode):
        try:
            function(path)
        except PictureError as error:
            assert error.reason


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256), (300, 224), (90, 60)])
def test_a_crop_is_torchvisions(tmp_path: Path, size: tuple[int, int]) -> None:
    from torchvision.transforms import v2

    path = saved(tmp_path / "a.jpg", photo(*size))
    image = pictures.decode(path)
    wanted = v2.CenterCrop(224)(v2.Resize(256)(image))
    assert pictures.read(path, Geometry(3, 224, 224)).equal(wanted)


def test_large_jpegs_are_decoded_small(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", photo(1600, 1200), quality=95)
    geometry = Geometry(3, 224, 224)
    assert pictures.decode(path, least=256).shape == (3, 300, 400)
    small, exact = pictures.read(path, geometry), pictures.fit(pictures.decode(path), geometry)
    assert (small.int() - exact.int()).abs().float().mean() < 1
    grey = pictures.read(path, Geometry(1, 224, 224))
    assert grey.shape == (1, 224, 224)


@pytest.mark.parametrize("size", [(9, 3), (3, 9), (5000, 2), (2, 5000), (1, 1), (7, 7)])
@pytest.mark.parametrize("shape", [(8, 8), (16, 5), (5, 16)])
def test_every_shape_fits(tmp_path: Path, size: tuple[int, int], shape: tuple[int, int]) -> None:
    path = saved(tmp_path / "a.png", photo(*size))
    for how in ("crop", "exact"):
        assert pictures.read(path, Geometry(3, *shape, how)).shape == (3, *shape)
    with pytest.raises(
        PictureError, match=rf"it is {size[0]}x{size[1]}, not {shape[1]}x{shape[0]}"
    ):
        pictures.read(path, Geometry(3, *shape, "none"))


def test_a_picture_of_the_size_is_left_alone(tmp_path: Path) -> None:
    picture = photo(20, 30)
    path = saved(tmp_path / "a.png", picture)
    for how in ("exact", "none"):
        made = pictures.read(path, Geometry(3, 30, 20, how))
        assert np.array_equal(made.permute(1, 2, 0).numpy(), np.asarray(picture))


def test_a_geometry_is_a_document() -> None:
    geometry = Geometry(3, 224, 160, "exact")
    assert Geometry.of(geometry.document()) == geometry
    wrong: tuple[object, ...] = (
        None,
        [],
        {},
        {"channels": 2},
        geometry.document() | {"resize": "x"},
    )
    for nonsense in wrong:
        with pytest.raises(FileError, match="does not say how pictures become tensors"):
            Geometry.of(nonsense)


def test_find_sorts_naturally_and_leaves_circles(tmp_path: Path) -> None:
    for name in (
        "b/10.jpg",
        "b/9.PNG",
        "a/x.gif",
        "c.jpeg",
        "notes.txt",
        ".hidden.jpg",
        "b/._9.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    found = [path.relative_to(tmp_path).as_posix() for path in pictures.find([tmp_path])]
    assert found == ["a/x.gif", "b/9.PNG", "b/10.jpg", "broken.jpg", "c.jpeg"]
    with pytest.raises(PictureError, match="a link that leads nowhere"):
        pictures.look(tmp_path / "broken.jpg")
    named = [tmp_path / "notes.txt", tmp_path / "gone.jpg"]
    assert pictures.find(named) == named
