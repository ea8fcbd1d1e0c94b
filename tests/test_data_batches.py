"""Batches: an epoch resumed at any batch is the epoch; ranks share batches; workers change nothing."""

from __future__ import annotations

import gc
import os
import signal
import time
from functools import cache
from multiprocessing import active_children
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ptools.data import Batches, Files, Geometry, Split, augment
from ptools.data.batches import seed_of
from ptools.data.workers import Crew, chosen
from ptools.errors import FileError, PtoolsError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

STATISTICS = ([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
COUNT = 27


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """27 noisy pictures of 12x10, decoded when asked for."""
    import numpy as np
    import torch
    from PIL import Image

    random, place = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
    paths = []
    for index in range(COUNT):
        pixels = random.integers(0, 256, (12, 10, 3), dtype=np.uint8)
        paths.append(str(place / f"{index}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return Files(tuple(paths), torch.arange(COUNT), Geometry(3, 8, 8, "exact"))


@pytest.fixture(scope="module")
def split(files: Files) -> Split:
    import torch

    return Split(files.pixels(torch.arange(COUNT)), files.labels, files.paths)


@cache
def parsed(text: str) -> augment.Augment | None:
    return augment.parse(text)


def made(
    samples: Split | Files,
    text: str = "none",
    *,
    seed: int | None = 3,
    workers: int = 0,
    rank: int = 0,
    ranks: int = 1,
    size: int = 8,
    last: bool = False,
) -> Batches:
    return Batches(
        samples,
        STATISTICS,
        batch_size=size,
        device="cpu",
        shuffle_seed=seed,
        augment=parsed(text),
        rank=rank,
        ranks=ranks,
        workers=workers,
        channels_last=last,
    )


def same(one: list[tuple[Tensor, Tensor]], two: list[tuple[Tensor, Tensor]]) -> bool:
    return len(one) == len(two) and all(
        a.equal(c) and b.equal(d) for (a, b), (c, d) in zip(one, two, strict=True)
    )


AUGMENTS = ("none", "flip", "flip-crop", "trivial", "RandomErasing(p=1.0); ColorJitter(0.4)")


@pytest.mark.parametrize("text", AUGMENTS)
@pytest.mark.parametrize("kind", ["memory", "files"])
def test_an_epoch_goes_on_from_any_batch(files: Files, split: Split, text: str, kind: str) -> None:
    import torch

    samples = split if kind == "memory" else files
    whole = list(made(samples, text).epoch(2))
    assert [len(labels) for _, labels in whole] == [8, 8, 8, 3]
    for start in range(5):
        torch.manual_seed(start)
        before = torch.get_rng_state()
        assert same(list(made(samples, text).epoch(2, start)), whole[start:])
        assert torch.get_rng_state().equal(before), "the global random state is the loop's"
    again = made(samples, text)
    next(again.epoch(1))  # an epoch left early leaves no trace
    assert same(list(again.epoch(2)), whole)
    assert not same(list(again.epoch(3)), whole)


def test_workers_change_nothing(files: Files, split: Split) -> None:
    import torch

    before = torch.get_rng_state()
    for samples, text in ((files, "flip-crop"), (split, "ColorJitter(0.4)")):
        here, there = made(samples, text), made(samples, text, workers=2)
        next(there.epoch(1))  # the workers go on to the next epoch, whatever is still on its way
        for epoch, start in ((1, 0), (2, 2), (2, 0)):
            assert same(list(there.epoch(epoch, start)), list(here.epoch(epoch, start)))
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("text", ["flip-crop", "RandomErasing(p=1.0)"])
def test_ranks_share_every_batch(split: Split, ranks: int, text: str) -> None:
    import torch

    whole = list(made(split, text).epoch(1))
    shares = [list(made(split, text, rank=rank, ranks=ranks).epoch(1)) for rank in range(ranks)]
    lengths = {len(made(split, text, rank=rank, ranks=ranks)) for rank in range(ranks)}
    assert lengths == {len(share) for share in shares} == {len(whole) - (ranks > 1)}
    for batch, (images, labels) in enumerate(whole[: lengths.pop()]):
        for rank, share in enumerate(shares):
            assert torch.equal(share[batch][0], images[rank::ranks])
            assert torch.equal(share[batch][1], labels[rank::ranks])


def test_scoring_by_ranks_sees_every_image_once(split: Split) -> None:
    for ranks in (1, 2, 3):
        seen: list[int] = []
        for rank in range(ranks):
            for images, labels in made(split, seed=None, rank=rank, ranks=ranks, size=13):
                assert 0 < len(images) == len(labels)
                seen += labels.tolist()
        assert sorted(seen) == list(range(COUNT))


def test_too_many_ranks_are_told(split: Split) -> None:
    with pytest.raises(UsageError, match="a batch of 2 images cannot be shared by 3 processes"):
        made(split, size=2, ranks=3)


def test_layouts_hold_the_same_numbers(split: Split, files: Files) -> None:
    import torch

    mean, std = (torch.tensor(s).view(1, -1, 1, 1) for s in STATISTICS)
    for text in ("none", "flip", "flip-crop"):
        plain = [images for images, _ in made(split, text).epoch(1)]
        for samples in (split, files):
            last = [images for images, _ in made(samples, text, last=True).epoch(1)]
            for one, two in zip(plain, last, strict=True):
                assert one.equal(two)
                assert one.is_contiguous()
                assert two.is_contiguous(memory_format=torch.channels_last)
    (images, labels), *_ = made(split, seed=None, size=COUNT)
    assert torch.allclose(images, (split.images / 255 - mean) / std, atol=1e-5)
    assert labels.tolist() == list(range(COUNT))


def test_a_picture_that_goes_bad_is_left_out_and_named(files: Files, tmp_path: Path) -> None:
    import torch

    bad = tmp_path / "bad.png"
    bad.write_bytes(Path(files.paths[0]).read_bytes()[:60])
    paths = (str(bad), *files.paths[1:])
    broken = Files(paths, files.labels, files.geometry)
    whole, batches = made(files, "flip"), made(broken, "flip", workers=2)
    got = list(batches.epoch(1))
    for (images, labels), (wanted, all_labels) in zip(got, whole.epoch(1), strict=True):
        left = all_labels != 0
        assert torch.equal(labels, all_labels[left])
        assert torch.equal(images, wanted[left])
    assert batches.bad == {str(bad): "truncated"}
    gone = [str(bad), *(str(tmp_path / f"{i}.png") for i in range(3))]
    alone = Files(tuple(gone), torch.zeros(4).long(), files.geometry)
    for workers in (0, 2):
        with pytest.raises(FileError, match="no picture of a batch of 4 can be read"):
            list(made(alone, workers=workers).epoch(1))


def test_seeds_of_batches_differ() -> None:
    seeds = {seed_of(s, e, b) for s in range(5) for e in range(20) for b in range(20)}
    assert len(seeds) == 5 * 20 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)


def work(request: str) -> int:
    """Do in a worker what `request` says, and return its process."""
    if request == "die":
        os._exit(3)
    if request == "fail":
        raise UsageError("on purpose")
    time.sleep(0.01)
    return os.getpid()


def test_workers_leave_ctrl_c_to_their_parent() -> None:
    results = Crew(work, 2).map(["go"] * 40)
    workers = {next(results) for _ in range(4)}
    assert len(workers) == 2 and os.getpid() not in workers
    for worker in workers:
        os.kill(worker, signal.SIGINT)
    assert set(results) == workers


def test_errors_of_workers_are_one_line() -> None:
    """And whoever keeps the error does not keep the workers."""
    for workers in (0, 2):
        with pytest.raises(UsageError, match=r"^on purpose$") as error:
            list(Crew(work, workers).map(["go", "fail", "go"]))
        assert error.value and not active_children()
    with pytest.raises(PtoolsError, match="a worker process ended unexpectedly") as ended:
        list(Crew(work, 1).map(["go", "die"]))
    assert "\n" not in str(ended.value)
    assert not active_children()


def test_a_crew_goes_on_after_an_error() -> None:
    crew = Crew(work, 2)
    with pytest.raises(UsageError, match="on purpose"):
        list(crew.map(["go", "fail", "go"]))
    assert len(list(crew.map(["go"] * 5))) == 5


def test_workers_end_with_their_batches(split: Split) -> None:
    batches = made(split, "ColorJitter(0.4)", workers=2)
    next(batches.epoch(1))
    begun = time.monotonic()
    del batches
    gc.collect()
    assert time.monotonic() - begun < 5, "a worker was waited for"


def test_workers_are_for_many_pictures_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(3, 10) == 3
    assert chosen(0, 10**6) == 0
    assert chosen(None, 999) == 0
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    cores = len(os.sched_getaffinity(0))
    found = chosen(None, 10**6)
    assert found == (0 if cores < 2 else min(cores, 8))
    assert chosen(None, 10**6, size=2**50) == 0, "no room in shared memory"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(cores))
    assert chosen(None, 10**6) == 0


def test_batches_made_together_are_those_made_alone(split: Split) -> None:
    """Whatever the first one is, and with augmentation, which makes them one by one."""
    one, two = made(split), made(split, "flip")
    assert one._slices is not None
    assert two._slices is None
    whole = list(one.epoch(3))
    for start in range(len(whole)):
        for (images, labels), (same, known) in zip(one.epoch(3, start), whole[start:], strict=True):
            assert images.equal(same)
            assert labels.equal(known)
    for (_, labels), (_, same) in zip(two.epoch(3), whole, strict=True):
        assert labels.equal(same)


def test_batches_made_together_lie_where_those_made_alone_do() -> None:
    """Else a network adds up in another order: the second batch of a group is the first of a resumed one."""
    import torch

    images = torch.randint(0, 256, (70, 1, 9, 9), dtype=torch.uint8)
    odd = Split(images, torch.arange(70) % 2)
    batches = Batches(odd, ([0.5], [0.25]), batch_size=7, device="cpu", shuffle_seed=0)
    whole = list(batches.epoch(1))
    assert {x.data_ptr() % 64 for x, _ in whole} == {0}
    torch.manual_seed(0)
    weight = torch.randn(10, 81)
    for start in range(1, 10):
        resumed = next(batches.epoch(1, start))[0].flatten(1)
        one = whole[start][0].flatten(1)
        assert torch.nn.functional.linear(one, weight).equal(resumed @ weight.T)
