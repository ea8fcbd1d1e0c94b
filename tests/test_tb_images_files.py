"""ptools tb-images: where images come from - folders, files, arrays - and the contact sheet."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ptools.errors import UsageError
from ptools.testing import Run
from ptools_plugins.tb_images import arrays, grids, sources
from tests import tb_images as here

pytestmark = pytest.mark.usefixtures("place")


def seen(ptools: Run, *args: str) -> list[torch.Tensor]:
    """Return the images that are shown, lossless."""
    done = ptools("tb-images", *args, "--lossless", "--out", "seen", "--force")
    assert done.exit_code == 0, done.stderr
    return [here.decoded(data) for data in here.images("seen").values()]


# -- arrays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "formats"),
    [
        ((5, 7), "HW"), ((3, 5, 7), "CHW"), ((5, 7, 3), "HWC"), ((1, 5, 7), "CHW"), ((4, 5, 7), "CHW"),
        ((9, 5, 7), "NHW"), ((2, 3, 5, 7), "NCHW"), ((2, 5, 7, 3), "NHWC"), ((2, 64, 5, 7), "NCHW"),
        ((3, 5, 3), "CHW"),
    ],
)  # fmt: skip
def test_the_dataformats_are_found_by_the_shape(shape: tuple[int, ...], formats: str) -> None:
    assert arrays.guess(shape) == formats


@pytest.mark.parametrize("shape", [(), (5,), (0, 5, 5), (1, 1, 1, 1, 1)])
def test_what_has_no_such_shape_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="is no image"):
        arrays.guess(shape)


def test_numpy_files_of_every_order_are_the_same_images(ptools: Run) -> None:
    image = here.photo(20, 24)
    np.save("chw.npy", image.numpy())
    np.save("hwc.npy", image.permute(1, 2, 0).numpy())
    np.save("nhwc.npy", image.permute(1, 2, 0)[None].expand(2, -1, -1, -1).numpy())
    np.savez_compressed("several.npz", one=image.numpy(), two=image.numpy())
    np.save("big.npy", image.numpy().astype(">u2") * 256)
    for name, count in (("chw", 1), ("hwc", 1), ("nhwc", 2), ("big", 1)):
        found = seen(ptools, f"{name}.npy")
        assert len(found) == count, name
        assert all(one.equal(image) for one in found), name
    assert len(seen(ptools, "several.npz")) == 2


def test_tensor_files(ptools: Run) -> None:
    image = here.photo(20, 24)
    torch.save(image, "one.pt")
    torch.save({"a": image, "b": image.float() / 255, "epoch": 3}, "two.pth")
    save_file({"x": image}, "three.safetensors")
    for name, count in (("one.pt", 1), ("two.pth", 2), ("three.safetensors", 1)):
        found = seen(ptools, name)
        assert len(found) == count
        assert all(one.equal(image) for one in found)


def test_dataformats_can_be_said(ptools: Run) -> None:
    np.save("odd.npy", np.zeros((3, 40, 3), np.uint8))
    assert seen(ptools, "odd.npy")[0].shape == (3, 40, 3)
    assert seen(ptools, "odd.npy", "--dataformats", "HWC")[0].shape == (3, 3, 40)
    wrong = ptools("tb-images", "odd.npy", "--dataformats", "NCHW")
    assert wrong.exit_code == 1
    assert "--dataformats NCHW does not describe 3x40x3; try CHW or HWC or NHW" in wrong.stderr


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (torch.tensor([[0.0, 0.5, 1.0]]), [0, 128, 255]),
        (torch.tensor([[-1.0, 0.0, 1.0]]), [0, 128, 255]),
        (torch.tensor([[0.0, 100.0, 255.0]]), [0, 100, 255]),
        (torch.tensor([[-5.0, 0.0, 5.0]]), [0, 128, 255]),
        (torch.tensor([[0.0, float("nan"), 1.0]]), [0, 0, 255]),
        (torch.tensor([[False, True]]), [0, 255]),
        (torch.tensor([[0, 256 * 200, 65535]]), [0, 200, 255]),
        (torch.tensor([[3, 7]]), [3, 7]),
        (torch.tensor([[-10, 10]]), [0, 255]),
    ],
)
def test_numbers_of_every_kind_become_pixels(values: torch.Tensor, shown: list[int]) -> None:
    assert arrays.pixels(values[None])[0, 0].tolist() == shown


@pytest.mark.parametrize("dtype", [">f4", ">u2", "<u4", "u8", "longdouble"])
def test_numpy_numbers_that_torch_lacks(ptools: Run, dtype: str) -> None:
    np.save("a.npy", (np.arange(16).reshape(4, 4) * 4096).astype(dtype))
    (image,) = seen(ptools, "a.npy")
    assert image[0, 0, 0] == 0
    assert image.flatten().tolist() == sorted(image.flatten().tolist())
    assert image[0, 3, 3] >= 240


def test_transparency_is_laid_on_white() -> None:
    clear = torch.zeros(4, 2, 2, dtype=torch.uint8)
    assert here.levels(arrays.pixels(clear)) == [255]


def test_many_channels_are_a_grid_of_grey_images(ptools: Run) -> None:
    maps = torch.randint(256, (8, 20, 20), dtype=torch.uint8)
    np.save("maps.npy", maps[None].numpy())
    (grid,) = seen(ptools, "maps.npy")
    assert grid.equal(grids.grid(list(maps[:, None])))


def test_hostile_arrays_are_refused_in_one_line(ptools: Run) -> None:
    np.save("objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    Path("text.npy").write_text("no array")
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (9999999, 99999), }"
    Path("huge.npy").write_bytes(header.ljust(127) + b"\n")
    with (
        zipfile.ZipFile("bomb.npz", "w", zipfile.ZIP_DEFLATED) as bomb,
        bomb.open("a.npy", "w") as a,
    ):
        block, head = bytes(2**24), io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "|u1", "fortran_order": False, "shape": (2**10, 2**24)}
        )
        a.write(head.getvalue())
        for _ in range(8):
            a.write(block)
    np.save("line.npy", np.zeros(5))
    torch.save({"lr": 0.1}, "plain.pt")
    for name in ("objects.npy", "text.npy", "huge.npy", "bomb.npz", "line.npy", "plain.pt"):
        done = ptools("tb-images", name)
        assert done.exit_code == 1, name
        assert name in done.stderr
        assert len(done.stderr.splitlines()) == 1


# -- pictures --------------------------------------------------------------------------------------------


def test_pictures_keep_their_own_size_unless_told(ptools: Run) -> None:
    here.save(here.photo(50, 70), Path("a.png"))
    here.save(here.photo(1, 9)[:1], Path("b.png"))
    one, two = seen(ptools, "a.png", "b.png")
    assert one.equal(here.photo(50, 70))
    assert two.equal(here.photo(1, 9)[:1])
    assert [tuple(x.shape) for x in seen(ptools, "a.png", "--size", "32x40")] == [(3, 32, 40)]


def test_folders_with_and_without_parts_and_classes(ptools: Run) -> None:
    here.photos("set/train", ("a", "b"), 2)
    here.photos("set/val", ("a", "b"), 1)
    loose = here.save(here.photo(), Path("loose/x.png"))
    assert {e.label for e in sources.find(["set"]).entries} == {"a", "b"}
    assert [len(sources.find(["set"], split=s).entries) for s in ("train", "val", "all")] == [
        4,
        2,
        6,
    ]
    (entry,) = sources.find(["loose"]).entries
    assert (entry.label, entry.name, entry.source) == (None, str(loose), "loose")
    for names in (["loose"], ["loose/x.png"]):
        done = ptools("tb-images", *names, "--split", "test")
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert "--split is for data sets, class folders and tables" in done.stderr
    assert len(sources.find(["set", "loose/x.png"], split="val").entries) == 3
    Path("empty").mkdir()
    done = ptools("tb-images", "empty")
    assert done.exit_code == 1
    assert "empty has no pictures in it" in done.stderr


def test_a_table_of_paths_and_labels() -> None:
    here.photos()
    Path("list.csv").write_text("path,label\nphotos/ants/0.png,ant\nphotos/bees/1.png,bee\n")
    found = sources.find(["list.csv"])
    assert [entry.label for entry in found.entries] == ["ant", "bee"]
    assert found.entries[0].read().equal(here.photo(seed=0))


def test_broken_pictures_are_named_and_the_others_shown(ptools: Run) -> None:
    folder = here.photos()
    (folder / "ants" / "1.png").write_bytes((folder / "ants" / "0.png").read_bytes()[:2000])
    (folder / "bees" / "no.jpg").write_text("text")
    for more in ([], ["--batch-size", "8"], ["--transform", "RandomCrop(9)"], ["--op", "ReLU()"]):
        done = ptools("tb-images", "photos", *more)
        assert done.exit_code == 0, done.stderr
        assert "skipped photos/ants/1.png: truncated" in done.stderr
        assert "skipped photos/bees/no.jpg: not an image" in done.stderr
        assert "5 images of photos" in done.stdout
    document = ptools("tb-images", "photos", "--json").document
    assert len(document["skipped"]) == 2
    assert document["images"] == 5


def test_pictures_of_many_sizes_make_batches(ptools: Run) -> None:
    for size in (70, 80, 90):
        here.save(here.photo(size, size + 10, seed=size), Path("mixed", "a", f"{size}.png"))
    (grid,) = seen(ptools, "mixed", "--batch-size", "3", "--no-labels")
    assert tuple(grid.shape) == (3, 2 * 226 + 2, 2 * 226 + 2)  # cut to 224, as training would


# -- the contact sheet -----------------------------------------------------------------------------------


def test_a_sheet_has_the_images_and_their_labels(ptools: Run) -> None:
    done = ptools("tb-images", "digits", "--per-class", "1", "--sheet", "sheet.png")
    assert done.exit_code == 0, done.stderr
    assert not Path("runs").exists()
    sheet = torch.from_numpy(np.array(Image.open("sheet.png")))
    assert done.stdout.startswith(f"sheet.png: {sheet.shape[1]}x{sheet.shape[0]}, ")
    images = [e.read() for e in sources.select(sources.find(["digits"]).entries, per_class=1)]
    first = grids.enlarged(images[0], 16)[0]
    assert sheet[6 : 6 + 128, 6 : 6 + 128].equal(first)
    assert sheet[6 + 128 : 6 + 143, 6 : 6 + 128].equal(grids.strip("0", 128)[0])


def test_a_sheet_is_not_overwritten_and_not_half_written(ptools: Run) -> None:
    Path("sheet.png").write_text("mine")
    done = ptools("tb-images", "digits", "--sheet", "sheet.png")
    assert done.exit_code == 1
    assert "--force" in done.stderr
    assert Path("sheet.png").read_text() == "mine"
    assert ptools("tb-images", "digits", "--sheet", "sheet.png", "--force").exit_code == 0
    assert Image.open("sheet.png").format == "PNG"


def test_a_sheet_and_an_event_file_in_one_call(ptools: Run) -> None:
    done = ptools("tb-images", "digits", "--max", "4", "--sheet", "s.png", "--out", "seen")
    assert done.exit_code == 0
    assert len(here.images("seen")) == 4
    assert Path("s.png").exists()


def test_labels_are_cut_to_their_tile() -> None:
    line = grids.strip("a name much longer than the picture it belongs to", 60)
    assert tuple(line.shape) == (1, 15, 60)
    assert line[:, :, -1].min() > 100  # nothing is cut through
    assert grids.strip("\x1b[31m", 80).equal(grids.strip("?[31m", 80))
