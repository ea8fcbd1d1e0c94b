"""Data sets: the digits, the split, the batches."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ptools import data
from ptools.data import Batches, Split
from ptools.errors import PluginError, UsageError
from ptools.testing import Install


def test_digits_are_the_1797_images_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    ours, theirs = data.load("digits"), load_digits()
    splits = (ours.train, ours.val, ours.test)
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
    every = torch.cat([one.train.images, one.val.images, one.test.images]).flatten()
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
    def order(batches: Batches) -> list[int]:
        return [int(label) for _, labels in batches for label in labels]

    one, two, other = _batches(100, 8, 0), _batches(100, 8, 0), _batches(100, 8, 1)
    first = order(one)
    assert sorted(first) == list(range(100))
    assert first == order(two) != order(other)
    assert order(one) == order(two) != first
    assert len(one) == 13


def test_a_last_batch_of_one_is_left_out_of_training() -> None:
    assert [len(labels) for _, labels in _batches(9, 4, 0)] == [4, 4]
    assert [len(labels) for _, labels in _batches(9, 4, None)] == [4, 4, 1]
    assert [len(labels) for _, labels in _batches(1, 4, 0)] == [1]


def test_statistics_are_those_of_the_training_images() -> None:
    import torch

    images = data.load("digits")
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
