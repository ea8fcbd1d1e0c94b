"""Data sets: the digits, the split, the batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ptools import data
from ptools.data import Batches, Split
from ptools.errors import PluginError, UsageError
from ptools.testing import Install


def test_digits_are_the_1797_images_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    ours, theirs = data.load("digits"), load_digits()
    splits: Any = (ours.train, ours.val, ours.test)
    assert sum(map(len, splits)) == len(theirs.target) == 1797
    assert ours.shape == (1, 8, 8)
    mine = sorted(
        (int(label), (image.float() * 16 / 255).round().byte().flatten().tolist())
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    )
    table = zip(theirs.target.tolist(), theirs.data.astype(int).tolist(), strict=True)
    assert mine == sorted(table)


def test_digits_do_not_import_sklearn() -> None:
    code = (
        "import sys; from ptools import data; data.load('digits'); print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_split_is_stratified_and_the_same_every_time() -> None:
    import torch

    labels = torch.tensor([0] * 100 + [1] * 50 + [2] * 10)
    images = torch.arange(160, dtype=torch.uint8).view(-1, 1, 1, 1)
    one, two = (data.split("x", ("a", "b", "c"), images, labels) for _ in range(2))
    for part, counts in (("train", [70, 35, 7]), ("val", [10, 5, 1]), ("test", [20, 10, 2])):
        mine = getattr(one, part)
        assert torch.bincount(mine.labels).tolist() == counts
        assert torch.equal(mine.images, getattr(two, part).images)
    parts: Any = (one.train, one.val, one.test)
    every = torch.cat([part.images for part in parts]).flatten()
    assert sorted(every.tolist()) == list(range(160))


def _batches(count: int, size: int, seed: int | None) -> Batches:
    import torch

    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 2, 1, 1)
    split = Split(images, torch.arange(count))
    statistics = ([0.5, 0.25], [0.5, 0.125])
    return Batches(split, statistics, batch_size=size, device="cpu", shuffle_seed=seed)


def test_batches_are_normalised() -> None:
    (images, labels), *_ = _batches(4, 4, None)
    assert labels.tolist() == [0, 1, 2, 3]
    assert images[:, 0, 0, 0].tolist() == pytest.approx([(i / 255 - 0.5) / 0.5 for i in range(4)])
    assert images[:, 1, 0, 0].tolist() == pytest.approx(
        [(i / 255 - 0.25) / 0.125 for i in range(4)]
    )


def test_batches_are_shuffled_by_seed_and_epoch() -> None:
    def order(batches: Batches, epoch: int) -> list[int]:
        return [int(label) for _, labels in batches.epoch(epoch) for label in labels]

    one, two, other = _batches(100, 8, 0), _batches(100, 8, 0), _batches(100, 8, 1)
    first = order(one, 1)
    assert sorted(first) == list(range(100))
    assert first == order(two, 1) == order(one, 1) != order(other, 1)
    assert order(one, 2) == order(two, 2) != first
    assert len(one) == 13


def test_a_last_batch_of_one_is_left_out_of_training() -> None:
    def sizes(batches: Batches) -> list[int]:
        found = [len(labels) for _, labels in batches]
        assert len(found) == len(batches)
        return found

    assert sizes(_batches(9, 4, 0)) == [4, 4]
    assert sizes(_batches(10, 4, 0)) == [4, 4, 2]
    assert sizes(_batches(9, 4, None)) == [4, 4, 1]
    assert sizes(_batches(1, 4, 0)) == [1]
    assert sizes(_batches(3, 1, 0)) == [1, 1, 1]


def test_statistics_are_those_of_the_training_images() -> None:
    import torch

    images: Any = data.load("digits")
    mean, std = images.statistics()
    pixels = images.train.images.double().div(255)
    assert mean == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())
    black = Split(torch.zeros(5, 2, 3, 3, dtype=torch.uint8), torch.zeros(5).long())
    constant = data.ImageSet("black", ("a",), black, black, black)
    mean, std = constant.statistics()
    assert mean == [0.0, 0.0]
    assert std == pytest.approx([1e-3, 1e-3])


def test_errors(install: Install) -> None:
    with pytest.raises(UsageError, match="Did you mean 'digits'"):
        data.load("digit")
    install("odd", "def odd():\n    return 7\n", "ptools_odd:odd", group="ptools.datasets")
    with pytest.raises(PluginError, match="returned a int"):
        data.load("odd")
    install("bad", "def bad():\n    1 / 0\n", "ptools_bad:bad", group="ptools.datasets")
    with pytest.raises(PluginError, match=r"'bad' of ptools-bad 1\.0 .* ZeroDivisionError"):
        data.load("bad")


def test_limited_keeps_the_shares_of_the_classes() -> None:
    import torch

    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    part = Split(torch.arange(100, dtype=torch.uint8).view(-1, 1, 1, 1), labels)
    whole = data.ImageSet("x", ("a", "b", "c"), part)
    assert whole.counts() == [60, 30, 10]
    some = whole.limited(20, seed=1)
    assert some.counts() == [12, 6, 2]
    assert torch.equal(some.train.pixels(torch.arange(20)), whole.limited(20, 1).train.images)  # type: ignore[union-attr]
    assert not torch.equal(some.train.images, whole.limited(20, 2).train.images)  # type: ignore[union-attr]
    assert len(whole.limited(7).train) == 7
    assert whole.limited(100) is whole.limited(1000) is whole


def test_val_chooses_another_split() -> None:
    fixed = data.load("digits")
    assert fixed.val is not None
    none = data.load("digits", val=0)
    assert none.val is None
    assert len(none.train) == len(fixed.train) + len(fixed.val)
    half, other = data.load("digits", val=0.5), data.load("digits", val=0.5, seed=1)
    assert half.val is not None and other.val is not None
    assert abs(len(half.train) - len(half.val)) <= 10
    assert half.val.labels.bincount().min() > 60
    assert half.val.labels.bincount().tolist() == other.val.labels.bincount().tolist()
    assert not half.val.pixels(half.val.labels[:50]).equal(other.val.pixels(half.val.labels[:50]))
    with pytest.raises(UsageError, match="--val 1 is no share"):
        data.load("digits", val=1)


def test_size_and_channels_of_a_set_in_memory() -> None:
    import torch

    plain = data.load("digits")
    large = data.load("digits", size=(16, 24), channels=3)
    assert large.shape == (3, 16, 24)
    assert large.test is not None and plain.test is not None
    assert large.test.images.shape == (len(plain.test), 3, 16, 24)  # type: ignore[union-attr]
    pixels = large.train.pixels(torch.arange(20))
    assert pixels[:, 0].equal(pixels[:, 2])
    back = torch.nn.functional.interpolate(pixels.float(), size=(8, 8), mode="area")
    assert (back[:, :1] - plain.train.pixels(torch.arange(20))).abs().mean() < 20
    assert large.how == data.Geometry(3, 16, 24, "exact")
    assert plain.how == data.Geometry(1, 8, 8, "exact")
    grey = data.load("digits", size=(8, 8), channels=1)
    assert grey.train.images.equal(plain.train.images)  # type: ignore[union-attr]


def test_a_factory_gets_what_it_asks_for(install: Install) -> None:
    source = """
import torch
from ptools.data import ImageSet, Split

def made(seed, val=None, size=None):
    part = Split(torch.full((4, 1, *size), seed, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    return ImageSet("made", ("a", "b"), part)

def plain():
    return made(7, size=(2, 2))
"""
    install("made", source, "ptools_made:made", group="ptools.datasets")
    install("plain", source, "ptools_plain:plain", group="ptools.datasets")
    made = data.load("made", seed=5, size=(3, 4), val=0.5)
    assert made.shape == (1, 3, 4)
    assert made.val is None, "it had val, and its word counts"
    assert int(made.train.images.max()) == 5  # type: ignore[union-attr]
    plain = data.load("plain")
    assert plain.val is not None and len(plain.val) == 2
    assert "2 classes: 1 training images each" in plain.notes
    with pytest.raises(UsageError, match="--data-dir has no effect"):
        data.load("plain", data_dir=Path())
    with pytest.raises(UsageError, match="--labels is for folders"):
        data.load("plain", labels=Path())


def test_a_set_that_cannot_be_trained_on_is_refused() -> None:
    import torch

    def part(count: int = 4, dtype: torch.dtype = torch.uint8, label: int = 0) -> Split:
        return Split(torch.zeros(count, 1, 2, 2, dtype=dtype), torch.full((count,), label))

    data.ImageSet("x", ("a",), part(), part(), part())
    for wrong, says in (
        (part(0), "val has no images"),
        (part(dtype=torch.float32), "val.images must be uint8"),
        (part(label=1), "val.labels must be int64 from 0 to 0"),
        (Split(part().images, part(3).labels), "val has 4 images but 3 labels"),
        (Split(part().images[:, 0], part().labels), "val.images must be uint8"),
        (Split(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), part().labels), "val has images of"),
    ):
        with pytest.raises(ValueError, match=says):
            data.ImageSet("x", ("a",), part(), wrong, part())
