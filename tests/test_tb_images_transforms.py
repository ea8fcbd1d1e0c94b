"""ptools tb-images --transform: all of torchvision's that take an image; normalisation undone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.transforms import v2

from ptools.errors import UsageError
from ptools.testing import Run
from ptools_plugins.tb_images import grids
from ptools_plugins.tb_images.transforming import parse
from tests import tb_images as here

pytestmark = pytest.mark.usefixtures("place")

# of those that need arguments, some
ARGUMENTS = {
    "CenterCrop": "32", "ColorJitter": "0.4", "Compose": "[RandomCrop(32), ToTensor()]",
    "ConvertBoundingBoxFormat": "'XYXY'", "ConvertImageDtype": "torch.float32", "FiveCrop": "32",
    "GaussianBlur": "3", "Grayscale": "3", "JPEG": "50", "Normalize": "[0.5], [0.5]", "Pad": "2",
    "RandomAdjustSharpness": "2", "RandomAffine": "20", "RandomApply": "[ColorJitter(0.4)]",
    "RandomChoice": "[RandomCrop(32), CenterCrop(32)]", "RandomCrop": "32",
    "RandomOrder": "[ColorJitter(0.4)]", "RandomPosterize": "4", "RandomResize": "32, 48",
    "RandomResizedCrop": "32", "RandomRotation": "30", "RandomShortestSize": "32",
    "RandomSolarize": "128", "Resize": "32, interpolation='bicubic'", "ScaleJitter": "[32, 32]",
    "SetClampingMode": "'soft'", "TenCrop": "32", "ToDtype": "torch.float32, scale=True",
}  # fmt: skip
NO_IMAGE = {  # boxes, key points, videos; functions; a matrix as long as the image, see below
    "RandomIoUCrop", "SanitizeBoundingBoxes", "SanitizeKeyPoints", "UniformTemporalSubsample",
    "Lambda", "LinearTransformation", "Transform",
}  # fmt: skip
EVERY = [
    name
    for name in dir(v2)
    if isinstance(getattr(v2, name), type) and issubclass(getattr(v2, name), v2.Transform)
]


@pytest.mark.parametrize("name", sorted({*EVERY} - NO_IMAGE))
def test_every_transform_that_takes_an_image(name: str) -> None:
    before = "ToTensor(); " if name == "Normalize" else ""
    recipe = parse(f"{before}{name}({ARGUMENTS.get(name, '')})")
    image, other = here.photo(64, 72), here.photo(64, 72, seed=1)
    state = torch.random.get_rng_state()
    made = recipe.variants(image, 2, 0, 0, other if recipe.mixes else None)
    assert torch.random.get_rng_state().equal(state)
    assert len(made) == {"FiveCrop": 10, "TenCrop": 20}.get(name, 2)
    assert all(one.dtype == torch.uint8 and one.dim() == 3 and len(one) in (1, 3) for one in made)
    again = recipe.variants(image, 2, 0, 0, other if recipe.mixes else None)
    assert all(one.equal(two) for one, two in zip(made, again, strict=True))


def test_a_linear_transformation_takes_lists() -> None:
    image = torch.tensor([[[51, 102]]], dtype=torch.uint8)
    recipe = parse("ToTensor(); LinearTransformation([[0.0, 1.0], [1.0, 0.0]], [0.0, 0.0])")
    assert recipe.variants(image, 1, 0, 0)[0].tolist() == [[[102, 51]]]


def test_normalisation_is_undone() -> None:
    imagenet = "Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])"
    image = here.photo(40, 40)
    for text in (f"ToTensor(); {imagenet}", f"Compose([ToTensor(), {imagenet}]); Identity()"):
        recipe = parse(text)
        assert recipe.variants(image, 1, 0, 0)[0].equal(image)
        assert recipe.numbers(image)[0].mean().abs() < 2.5  # a network gets it normalised
        assert not recipe.numbers(image)[0].equal(image.float() / 255)


def test_a_variant_is_a_function_of_seed_image_and_number_alone() -> None:
    recipe, image = parse("RandomCrop(20)"), here.photo(64, 64)
    four, two = recipe.variants(image, 4, 7, 3), recipe.variants(image, 2, 7, 3)
    assert all(one.equal(other) for one, other in zip(four[:2], two, strict=True))
    assert not four[0].equal(four[1])
    assert not four[0].equal(recipe.variants(image, 1, 8, 3)[0])
    assert not four[0].equal(recipe.variants(image, 1, 7, 4)[0])


def test_mixup_mixes_each_image_with_the_next() -> None:
    black, white = (torch.full((3, 8, 8), value, dtype=torch.uint8) for value in (0, 255))
    made = parse("MixUp()").variants(black, 4, 0, 0, white)
    levels = {int(one[0, 0, 0]) for one in made}
    assert len(levels) > 2
    assert all(len(here.levels(one)) == 1 for one in made)


def test_the_original_is_beside_the_variants(ptools: Run) -> None:
    here.photos(each=1)
    text = "RandomCrop(40)"
    args = ["photos", "--transform", text, "--variants", "3", "--lossless", "--seed", "5"]
    done = ptools("tb-images", *args, "--out", "seen")
    assert done.exit_code == 0, done.stderr
    found = here.images("seen")
    assert list(found) == [("photos/transform", 0), ("photos/transform", 1)]
    row = here.decoded(found["photos/transform", 0])
    wide, high = 48 // 40 + 1, 2
    cell = 40 * wide
    for place, variant in enumerate(parse(text).variants(here.photo(), 3, 5, 0), 1):
        left = 2 + place * (cell + 2)
        large = grids.enlarged(variant, wide)
        assert row[:, high : high + cell, left : left + cell].equal(large)
    about = here.events("seen")[1].summary.value[0].metadata.summary_description
    assert about == "RandomCrop(40): the original and 3 variants"


def test_a_batch_with_a_transform_is_what_goes_into_the_network(ptools: Run) -> None:
    here.photos(each=2)
    args = ["photos", "--transform", "RandomCrop(40)", "--batch-size", "4", "--no-labels"]
    ptools("tb-images", *args, "--lossless", "--out", "seen")
    ((_, data),) = here.images("seen").items()
    grid = here.decoded(data)
    own = parse("RandomCrop(40)")
    for place, seed in enumerate((0, 1, 10, 11)):
        top, left = (2 + 42 * side for side in divmod(place, 2))
        wanted = own.variants(here.photo(seed=seed), 1, 0, place)[0]
        assert grid[:, top : top + 40, left : left + 40].equal(wanted)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("RandomCropp(3)", "has no transform 'RandomCropp'. Did you mean 'RandomCrop'?"),
        ("Lambda(abs)", "takes code, and texts are never run"),
        ("RandomCrop(__import__('os').getpid())", "has no transform '__import__"),
        ("ToDtype(os.environ)", "cannot be read"),
        ("RandomCrop('a')", "--transform"),
        (" ; ", "--transform is empty"),
        ("Resize(100000)", "a side has at most 8192 pixels"),
        ("CenterCrop([100, 9000])", "a side has at most 8192 pixels"),
    ],
)
def test_what_is_no_transform_is_refused(ptools: Run, text: str, why: str) -> None:
    done = ptools("tb-images", "digits", "--transform", text)
    assert done.exit_code == 2
    assert why in done.stderr
    assert "--augment" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not Path("runs/tb-images-1").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Normalize([0.5], [0.5])", "put ToTensor() before it"),
        ("RandomIoUCrop()", "bounding boxes"),
        ("RandomCrop(500)", "RandomCrop fails on an image of 3x64x64"),
        ("RandomCrop(500)", "(64, 64)."),
        ("Pad(1000000)", "what Pad makes of 3x64x64 is larger than memory"),
    ],
)
def test_what_takes_no_such_image_is_said(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why.replace("(", r"\(").replace(")", r"\)")):
        parse(text).variants(here.photo(64, 64), 1, 0, 0)
