"""Folders and CSV files: every layout, what is odd about them, decoded once or streamed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptools import data
from ptools.data import Batches, Files, Geometry, ImageSet, Split
from ptools.data.folders import choose
from ptools.data.pictures import Look
from ptools.errors import FileError, UsageError


def picture(path: Path, value: int = 0, size: tuple[int, int] = (12, 10)) -> Path:
    """Write a picture of one grey, `value`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path)
    return path


def values(part: Any) -> list[int]:
    """Return the grey of each picture of a part."""
    import torch

    return [int(image[0, 0, 0]) for image in part.pixels(torch.arange(len(part)))]


def classes_folder(root: Path, counts: dict[str, int], first: int = 0) -> Path:
    value = first
    for name, count in counts.items():
        for index in range(count):
            picture(root / name / f"{index}.png", value)
            value += 1
    return root


def test_a_folder_of_classes(tmp_path: Path) -> None:
    images = data.load(str(classes_folder(tmp_path / "pets", {"dog": 10, "cat": 20, "10": 5})))
    assert images.name == "pets"
    assert images.classes == ("10", "cat", "dog")
    assert images.geometry == Geometry(3, 10, 12, "exact")
    assert images.shape == (3, 10, 12)
    assert images.counts() == [4, 16, 8]
    assert images.val is not None and images.test is None
    assert images.val.labels.bincount().tolist() == [1, 4, 2]
    assert sorted(values(images.train) + values(images.val)) == list(range(35))
    labels = dict(zip(values(images.train), images.train.labels.tolist(), strict=True))
    assert {labels.get(i, 2) for i in range(10)} == {2}
    assert {labels.get(i, 1) for i in range(10, 30)} == {1}
    assert images.notes == (
        "3 classes: 10 4, cat 16, dog 8; imbalance 4.0",
        "pictures are 12x10, taken as they are",
    )


def test_the_split_is_the_seeds(tmp_path: Path) -> None:
    root = str(classes_folder(tmp_path, {"a": 40, "b": 1}))
    one, two, other = (data.load(root, seed=seed) for seed in (1, 1, 2))
    assert values(one.val) == values(two.val) != values(other.val)
    assert len(values(one.val)) == 8, "the class of one picture keeps it"
    assert data.load(root, val=0).val is None
    assert len(data.load(root, val=0.5).train) == 21
    assert (
        data.load(root, limit=10).counts() == [10, 0] or len(data.load(root, limit=10).train) == 10
    )


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train", "validation", "TEST")])
def test_folders_that_are_split_already(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for place, (name, count) in enumerate(zip(names, (6, 2, 3), strict=True)):
        classes_folder(tmp_path / name, {"a": count, "b": count}, 50 * place)
    images = data.load(str(tmp_path))
    assert values(images.train) == list(range(12))
    assert values(images.val) == [50, 51, 52, 53]
    assert values(images.test) == list(range(100, 106))
    again = data.load(str(tmp_path), val=0.5)
    assert again.val is not None and len(again.train) == len(again.val) == 8
    assert sorted(values(again.train) + values(again.val)) == [*range(12), *range(50, 54)]


def test_train_may_be_a_class(tmp_path: Path) -> None:
    images = data.load(str(classes_folder(tmp_path, {"bus": 3, "train": 3})))
    assert images.classes == ("bus", "train")


def label_files(root: Path, images: str, labels: str, names: list[str], first: int = 0) -> None:
    (root / labels).mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names, first):
        picture(root / images / f"{index}.jpg", 8 * index)
        (root / labels / f"{index}.txt").write_text(name + "\n")


def test_label_files_of_the_same_stem(tmp_path: Path) -> None:
    label_files(tmp_path, "images", "labels", ["ant", "bee", "bee", "ant"])
    images = data.load(str(tmp_path), val=0)
    assert images.classes == ("ant", "bee")
    assert images.train.labels.tolist() == [0, 1, 1, 0]
    elsewhere = data.load(str(tmp_path / "images"), labels=tmp_path / "labels", val=0)
    assert elsewhere.train.labels.tolist() == [0, 1, 1, 0]


def test_pairs_of_folders_and_numbers(tmp_path: Path) -> None:
    for part in ("train", "val"):
        label_files(tmp_path / part, "ants_image", "ants_label", ["ants"] * 3)
        label_files(tmp_path / part, "bees_image", "bees_label", ["bees"] * 2, 3)
    images = data.load(str(tmp_path))
    assert (images.counts(), images.classes) == ([3, 2], ("ants", "bees"))
    assert images.val is not None and images.val.labels.tolist() == [0, 0, 0, 1, 1]
    numbers = tmp_path / "numbers"
    label_files(numbers, "images/train", "labels/train", ["2", "10", "2"])
    assert data.load(str(numbers), val=0).classes == ("2", "10")
    (numbers / "labels" / "train" / "classes.txt").write_text("\n".join("abcdefghijk"))
    assert data.load(str(numbers), val=0).classes == ("c", "k")


def test_label_files_that_do_not_tell(tmp_path: Path) -> None:
    texts = ["a", "b", "", "0 0.5 0.5 0.1 0.1", "a\nb"]
    label_files(tmp_path, "images", "labels", texts)
    picture(tmp_path / "images" / "alone.jpg")
    notes = data.load(str(tmp_path), val=0).notes
    for kind in (
        "its label file is empty (1): images/2.jpg",
        "its label file holds boxes, not a class (1): images/3.jpg",
        "its label file has more than one line (1): images/4.jpg",
        "without a label file (1): images/alone.jpg",
    ):
        assert "left out, " + kind in notes


@pytest.mark.parametrize("head", ["", "path,label\n", "label;filename\n", "id\tname\tsplit\n"])
def test_tables(tmp_path: Path, head: str) -> None:
    mark = "," if not head or "," in head else ";" if ";" in head else "\t"
    rows = []
    for index in range(6):
        picture(tmp_path / "some where" / f"{index}.png", index)
        cells = [f"some where/{index}.png", "ab"[index % 2]]
        cells = cells[::-1] if head.startswith("label") else cells
        rows.append(mark.join([*cells, *(["train" if index < 4 else "val"] * ("split" in head))]))
    table = tmp_path / "pets.csv"
    gone = mark.join(("some where/gone.png", "a", "train")[: 3 if "split" in head else 2])
    gone = gone if not head.startswith("label") else "a;some where/gone.png"
    table.write_text("\ufeff" + head + "\n".join([*rows, gone, ""]), "utf-8")
    images = data.load(str(table), val=None if "split" in head else 0)
    assert images.name == "pets"
    assert images.classes == ("a", "b")
    assert values(images.train) == list(range(4 if "split" in head else 6))
    assert images.train.labels.tolist()[:4] == [0, 1, 0, 1]
    assert (images.val is not None) == ("split" in head)
    assert "left out, no such file (1): some where/gone.png" in images.notes


# -- what is odd -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each oddity."""
    root = tmp_path_factory.mktemp("nasty")
    for part, count in (("train", 6), ("val", 2)):
        classes_folder(root / part, {"cat": count, "dog": count})
    (root / "train" / "empty").mkdir()
    picture(root / "val" / "zebra" / "z.png")
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    cats, dogs = root / "train" / "cat", root / "train" / "dog"
    noise.quantize(16).save(cats / "gif.jpg", "GIF")
    noise.save(cats / "whole.jpg")
    whole = (cats / "whole.jpg").read_bytes()
    (cats / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (cats / "hole.jpg").write_bytes(whole[: len(whole) // 2] + whole[-20:])  # its end is there
    (cats / "zero.jpg").touch()
    (cats / "text.jpg").write_text("text")
    (cats / "notes.txt").write_text("text")
    noise.convert("CMYK").save(dogs / "cmyk.jpg")
    Image.fromarray(random.integers(0, 65536, (9, 9), dtype=np.uint16)).save(dogs / "deep.png")
    noise.quantize(16).save(dogs / "clear.png", transparency=3)
    exif = Image.Exif()
    exif[0x0112] = 6
    noise.save(dogs / "turned.jpg", exif=exif)
    (cats / "loop").symlink_to(root)
    return root


ODD = {
    "left out, a class folder without pictures (1): train/empty",
    "left out, truncated (1): train/cat/cut.jpg",
    "left out, zero bytes (1): train/cat/zero.jpg",
    "left out, not an image (1): train/cat/text.jpg",
    "left out, val pictures of class 'zebra', which train lacks (1): val/zebra/z.png",
    "no pictures by their names (1): train/cat/notes.txt",
    "GIF: the first frame is used (1): train/cat/gif.jpg",
    "CMYK: converted to RGB (1): train/dog/cmyk.jpg",
    "16 bits: reduced to 8 (1): train/dog/deep.png",
    "transparency: laid on white (1): train/dog/clear.png",
    "EXIF rotation: turned upright (1): train/dog/turned.jpg",
}


@pytest.mark.parametrize("workers", [0, 2])
def test_oddities_are_named_and_the_run_goes_on(nasty: Path, workers: int) -> None:
    images = data.load(str(nasty), size=(16, 16), workers=workers)
    assert set(images.notes) >= ODD
    assert (
        "pictures are 9x9 to 80x80 (width x height), median 12x10; cut to 16x16 from the centre"
        in (images.notes)
    )
    assert images.classes == ("cat", "dog")
    assert images.val is not None and len(images.val) == 4
    assert len(images.train) in (18, 19)  # of libjpeg: the one with a hole
    assert isinstance(images.train, Split) and len(images.train.paths) == len(images.train)


def test_strict_stops(nasty: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"--strict: .* has 1\d oddities: left out, .* mend them"):
        data.load(str(nasty), strict=True)
    clean = classes_folder(tmp_path, {"a": 3, "b": 3})
    (clean / "a" / "notes.txt").touch()
    assert len(data.load(str(clean), strict=True).train) == 4


def test_many_of_a_kind_are_counted(tmp_path: Path) -> None:
    classes_folder(tmp_path, {"a": 3, "b": 3})
    for index in range(25):
        (tmp_path / "a" / f"z{index:02}.jpg").touch()
    note = data.load(str(tmp_path)).notes[-1]
    assert note.startswith("left out, zero bytes (25): a/z00.jpg, a/z01.jpg, a/z02.jpg")
    assert note.endswith("a/z09.jpg and 15 more")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ((), "it has no files; wanted is one subfolder per class"),
        (("a.jpg",), "it has pictures, but not in class folders"),
        (("a/x.heic", "b/y.heic"), r"it has files of \.heic"),
        (("a/x.jpg",), "has one class, 'a'"),
    ],
)
def test_folders_that_are_no_data_set(tmp_path: Path, names: tuple[str, ...], says: str) -> None:
    for name in names:
        path = tmp_path / name
        picture(path) if name.endswith("jpg") else path.parent.mkdir() or path.touch()  # type: ignore[func-returns-value]
    with pytest.raises(FileError, match=says):
        data.load(str(tmp_path))


def test_names_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder or file is there"):
        data.load(str(tmp_path / "gone"))
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UsageError, match=r"it is neither a folder nor a \.csv file"):
        data.load(str(tmp_path / "a.jpg"))
    (tmp_path / "a.csv").write_text("x\ny\n")
    with pytest.raises(FileError, match="has no rows of path,label"):
        data.load(str(tmp_path / "a.csv"))
    with pytest.raises(UsageError, match="no cache is called 'disk'"):
        data.load("digits", cache="disk")


# -- memory and files --------------------------------------------------------------------------------


def test_streamed_and_decoded_are_the_same(tmp_path: Path) -> None:
    root = str(classes_folder(tmp_path, {"a": 20, "b": 20}))
    ram, files = data.load(root, cache="ram"), data.load(root, cache="none")
    assert isinstance(ram.train, Split) and isinstance(files.train, Files)
    assert ram.statistics() == files.statistics()
    assert ram.train.paths == files.train.paths
    assert "pictures are decoded in every epoch: they would take 0.0 GiB of memory" in files.notes

    def batches(images: ImageSet, workers: int) -> list[tuple[Any, Any]]:
        made = Batches(
            images.train,
            images.statistics(),
            batch_size=8,
            device="cpu",
            shuffle_seed=0,
            workers=workers,
        )
        return list(made.epoch(1))

    for workers in (0, 2):
        for one, two in zip(batches(ram, 0), batches(files, workers), strict=True):
            assert one[0].equal(two[0])
            assert one[1].equal(two[1])


def test_a_set_in_memory_decodes_once(tmp_path: Path) -> None:
    root = classes_folder(tmp_path / "x", {"a": 4, "b": 4})
    images = data.load(str(root))
    root.rename(tmp_path / "gone")
    batches = Batches(images.train, images.statistics(), batch_size=4, device="cpu", shuffle_seed=0)
    assert sum(len(labels) for epoch in (1, 2) for _, labels in batches.epoch(epoch)) == 12


def test_size_and_channels(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for index in range(2):
            path = picture(tmp_path / name / f"{index}.png", size=(20, 20))
            Image.open(path).convert("L").save(path)
    root = str(tmp_path)
    assert data.load(root).geometry == Geometry(1, 20, 20, "exact")
    assert data.load(root, channels=3, size=(8, 8)).geometry == Geometry(3, 8, 8, "exact")
    assert data.load(root, size=(8,)).geometry == Geometry(1, 8, 8, "exact")
    assert data.load(root, size=(8, 16)).geometry == Geometry(1, 8, 16, "crop")
    picture(tmp_path / "a" / "3.png", size=(300, 200))
    images = data.load(root)
    assert images.geometry == Geometry(3, 20, 20, "exact")
    assert images.shape == (3, 20, 20)
    assert (
        "pictures are 20x20, but for 1 of 5, of 20x20 to 300x200 (width x height), which are resized to it"
    ) in images.notes


@pytest.mark.parametrize(
    ("sizes", "geometry"),
    [
        ([(20, 20)] * 5 + [(200, 300)], Geometry(3, 20, 20, "exact")),
        ([(20, 30)] * 3 + [(24, 24)] * 3 + [(900, 900)], Geometry(3, 24, 30, "crop")),
        ([(20, 20)] + [(200, 300)] * 5, Geometry(3, 224, 224, "crop")),
        ([(200, 300)] * 5, Geometry(3, 224, 224, "crop")),
    ],
)
def test_most_pictures_decide_the_size(sizes: list[tuple[int, int]], geometry: Geometry) -> None:
    assert choose([Look(height, width, 3) for height, width in sizes]) == geometry


def test_links_that_lead_nowhere_and_folders_named_as_pictures(tmp_path: Path) -> None:
    root = classes_folder(tmp_path / "x", {"a": 3, "b": 3})
    (root / "a" / "lost.jpg").symlink_to(tmp_path / "gone.jpg")
    (root / "a" / "ring.png").symlink_to(root / "a" / "ring.png")
    picture(root / "b" / "more.jpg" / "in.png")
    os.mkfifo(root / "b" / "pipe.jpg")
    images = data.load(str(root), val=0)
    assert images.counts() == [3, 4]
    assert set(images.notes) >= {
        "left out, a link that leads nowhere (2): a/lost.jpg, a/ring.png",
        "left out, no file (1): b/pipe.jpg",
        "a folder with the name of a picture (1): b/more.jpg",
    }
    with pytest.raises(FileError, match=r"--strict: .* has 4 oddities"):
        data.load(str(root), strict=True)
