"""Augmentation: parsed, never evaluated; each image by its own draw, given by the batch's seed."""

from __future__ import annotations

import pytest

from ptools.data import augment
from ptools.errors import UsageError


def ramp(count: int = 64, size: int = 16) -> object:
    """Images whose pixels tell where they come from: channel 0 the row, 1 the column, 2 the image."""
    import torch

    rows = torch.arange(size).view(1, 1, -1, 1).expand(count, 1, size, size)
    columns = rows.transpose(2, 3)
    number = torch.arange(count).view(-1, 1, 1, 1).expand(count, 1, size, size)
    return torch.cat([rows, columns, number], 1).to(torch.uint8)


def test_none_is_none() -> None:
    assert augment.parse("none") is None
    assert augment.parse(" none ") is None


def test_flip_mirrors_about_half() -> None:
    import torch

    images = torch.as_tensor(ramp())
    flip = augment.parse("flip")
    assert flip is not None
    new = flip(images, 1)
    mirrored = torch.tensor([not a.equal(b) for a, b in zip(new, images, strict=True)])
    assert 16 < int(mirrored.sum()) < 48
    assert new[mirrored].equal(images[mirrored].flip(3))
    assert new.equal(flip(images, 1))
    assert not new.equal(flip(images, 2))


def test_flip_crop_shifts_within_the_padding_and_reflects() -> None:
    import torch
    from torch.nn.functional import pad

    images = torch.as_tensor(ramp())
    crop = augment.parse("flip-crop")
    assert crop is not None
    new = crop(images, 0)
    padded = pad(images.float(), (2, 2, 2, 2), mode="reflect").to(torch.uint8)  # 4/32 of 16
    shifts = set()
    for image, source in zip(new, padded, strict=True):
        found = [
            (y, x, mirror)
            for y in range(5)
            for x in range(5)
            for mirror in (False, True)
            if image.equal((source.flip(2) if mirror else source)[:, y : y + 16, x : x + 16])
        ]
        assert len(found) == 1
        shifts |= set(found)
    assert len({shift[0] for shift in shifts}) == len({shift[1] for shift in shifts}) == 5
    assert len(shifts) > 30


def test_a_part_of_a_batch_is_augmented_as_in_the_whole() -> None:
    import torch

    images = torch.as_tensor(ramp(20))
    for text in ("flip", "flip-crop", "trivial", "RandomResizedCrop(16)"):
        changed = augment.parse(text)
        assert changed is not None
        whole, places = changed(images, 9), [1, 4, 17]
        assert changed(images[places], 9, places).equal(whole[places])


def test_expressions_change_each_image_by_itself() -> None:
    import torch

    same = torch.as_tensor(ramp(1)).expand(12, -1, -1, -1).contiguous()
    jitter = augment.parse("v2.ColorJitter(brightness=(0.5, 1.5)); RandomRotation(30)")
    assert jitter is not None and jitter.slow
    before = torch.get_rng_state()
    new = jitter(same, 5)
    assert torch.get_rng_state().equal(before)
    assert len({image.numpy().tobytes() for image in new}) == 12
    assert new.equal(jitter(same, 5))


def test_transforms_nest() -> None:
    import torch

    images = torch.as_tensor(ramp(40))
    some = augment.parse("RandomApply([Grayscale(3), RandomInvert(p=1)], p=0.5)")
    assert some is not None
    changed = [not a.equal(b) for a, b in zip(some(images, 0), images, strict=True)]
    assert 8 < sum(changed) < 32
    assert augment.parse("RandomAffine(10, interpolation='bilinear')") is not None
    assert augment.parse("RandomHorizontalFlip") is not None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flipp", "Did you mean 'flip'"),
        ("RandomHorizontalFlp()", "Did you mean 'RandomHorizontalFlip'"),
        ("__import__('os').system('false')", "has no transform"),
        ("ColorJitter(open('x'))", "has no transform 'open'"),
        ("ColorJitter(a)", "'a' is neither a number nor a transform"),
        ("ColorJitter(0.4", "cannot be read"),
        ("3 + 4", "is no transform"),
        ("ColorJitter(-1)", "ValueError"),
        ("Compose(3)", "Compose"),
        ("functional()", "has no transform 'functional'"),
        ("", "--augment is empty"),
    ],
)
def test_nonsense_is_one_line(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        augment.parse(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("RandomResizedCrop(8)", "makes uint8 3x8x8 of uint8 3x16x16"),
        ("ToDtype(scale=True)", "ToDtype"),
        ("Normalize([0.5], [0.5])", "fails on an image of 3x16x16"),
    ],
)
def test_what_does_not_keep_the_images_is_told(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        made = augment.parse(text)
        assert made is not None
        made.check((3, 16, 16))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
