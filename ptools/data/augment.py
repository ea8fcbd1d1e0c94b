"""Augmentation: each image of a batch changed at random, as a function of the batch's seed alone.

parse(text)   none | flip | flip-crop | trivial | "RandomHorizontalFlip(); ColorJitter(0.4)"
Augment       uint8 (B, C, H, W) -> the same; each image by its own draw
NAMES         the words `parse` knows

flip and flip-crop work on whole batches (pad 4 of 32 pixels by reflection, then cut: He et al.,
arXiv:1512.03385), for 2 to 4 % of a small network's step. trivial is TrivialAugment (Müller & Hutter,
arXiv:2103.10158); it and expressions of torchvision.transforms.v2 work image by image. Expressions are
parsed, never evaluated. The global random state is left as it was.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptools.errors import PtoolsError, UsageError, cause, one_line, suggestion

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("none", "flip", "flip-crop", "trivial")


def parse(text: str) -> Augment | None:
    """Return the augmentation `text` names, None for `none`. Raises UsageError."""
    text = text.strip()
    if text == "none":
        return None
    if text in ("flip", "flip-crop"):
        return Augment(text)
    expression = "TrivialAugmentWide()" if text == "trivial" else text
    return Augment(text, tuple(_transforms(expression)))


@dataclass(frozen=True)
class Augment:
    """What `text` names. Call it on a batch of uint8 images with the batch's seed."""

    text: str
    transforms: tuple[Any, ...] = ()  # of torchvision.transforms.v2, one after the other

    @property
    def slow(self) -> bool:
        """Whether it works image by image, so that worker processes help."""
        return bool(self.transforms)

    def __call__(self, images: Tensor, seed: int, places: Sequence[int] | None = None) -> Tensor:
        """Return uint8 (B, C, H, W) like `images`.

        `places` are the images' places in the batch: a part of it is augmented as it is in the whole.
        """
        places = range(len(images)) if places is None else places
        if self.transforms:
            return self._one_by_one(images, seed, places)
        import torch

        draws = torch.rand(
            max(places) + 1, 3, generator=torch.Generator().manual_seed(seed % 2**63)
        )
        draws = draws[list(places)].to(images.device)
        images = _flipped(images, draws[:, 0] < 0.5)
        return _shifted(images, draws[:, 1:]) if self.text == "flip-crop" else images

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raise UsageError where images (C, H, W) would not come out as they went in."""
        import torch

        self(torch.zeros(1, *shape, dtype=torch.uint8), 0)

    def _one_by_one(self, images: Tensor, seed: int, places: Sequence[int]) -> Tensor:
        import torch

        done = torch.empty_like(images)
        with torch.random.fork_rng(devices=[]):  # images to transform lie on the CPU
            for image, new, place in zip(images, done, places, strict=True):
                torch.default_generator.manual_seed((seed + place * 0x9E3779B97F4A7C15) % 2**63)
                new.copy_(self._transformed(image))
        return done

    def _transformed(self, image: Tensor) -> Tensor:
        new = image
        try:
            for transform in self.transforms:
                new = transform(new)
        except PtoolsError:
            raise
        except Exception as error:  # torchvision, on the user's arguments
            size = "x".join(map(str, image.shape))
            why = f"fails on an image of {size}: {cause(error)}"
            raise UsageError(f"--augment '{one_line(self.text, 80)}' {why}") from error
        if getattr(new, "shape", None) != image.shape or new.dtype != image.dtype:
            raise UsageError(f"--augment '{one_line(self.text, 80)}' {_changed(image, new)}")
        return new


def _changed(image: Tensor, new: object) -> str:
    def say(value: object) -> str:
        shape = "x".join(map(str, getattr(value, "shape", ())))
        return (
            f"{str(getattr(value, 'dtype', type(value).__name__)).removeprefix('torch.')} {shape}"
        )

    return (
        f"makes {say(new)} of {say(image)}; an augmentation keeps both (sizes: --size, numbers: the "
        f"recipe)."
    )


# -- whole batches ---------------------------------------------------------------------------------


def _flipped(images: Tensor, which: Tensor) -> Tensor:
    """Mirror the images where `which` (B,) says so."""
    import torch

    rows = images
    last = images.is_contiguous(memory_format=torch.channels_last)
    if last:  # whole rows are copied, so the layout is made the plain one
        rows = images.permute(0, 2, 3, 1)
    both = torch.cat([rows, rows.flip(2 if last else 3)])
    index = torch.arange(len(images), device=images.device) + len(images) * which
    rows = both.index_select(0, index)
    return rows.permute(0, 3, 1, 2) if last else rows


def _shifted(images: Tensor, draws: Tensor) -> Tensor:
    """Shift each image by up to 4/32 of its sides; `draws` (B, 2) in 0..1; edges are reflected."""
    import torch
    from torch.nn.functional import pad

    height, width = images.shape[2:]
    up, left = max(1, round(height / 8)), max(1, round(width / 8))
    if min(height, width) < 2:
        return images
    last = images.is_contiguous(memory_format=torch.channels_last)
    source = images if images.device.type == "cpu" else images.half()  # exact, and it can be padded
    padded = pad(source, (left, left, up, up), mode="reflect").to(images.dtype)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2up+1, 2left+1, H, W)
    windows = windows.permute(0, 2, 3, 4, 5, 1) if last else windows.permute(0, 2, 3, 1, 4, 5)
    y, x = (draws * draws.new_tensor([2 * up + 1, 2 * left + 1])).long().unbind(1)
    cut = windows[torch.arange(len(images), device=images.device), y, x]
    return cut.permute(0, 3, 1, 2) if last else cut


# -- expressions -----------------------------------------------------------------------------------


def _transforms(text: str) -> list[Any]:
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if not parts:
        raise UsageError(f"--augment is empty; choose {', '.join(NAMES)} or v2 transforms.")
    return [_transform(part) for part in parts]


def _transform(text: str) -> Any:
    """Build one transform of torchvision.transforms.v2 from its text."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"--augment '{one_line(text, 80)}' cannot be read; {_WAY}") from error
    if isinstance(tree, ast.Name):  # ColorJitter without its brackets
        tree = ast.Call(tree, [], [])
    if not isinstance(tree, ast.Call):
        raise UsageError(f"--augment '{one_line(text, 80)}' is no transform; {_WAY}")
    return _value(tree)


_WAY = 'write it like "RandomHorizontalFlip(); ColorJitter(0.4)", or one of ' + ", ".join(NAMES)


def _value(node: ast.expr) -> Any:
    """Return a literal, or a transform, or a list of such."""
    if isinstance(node, ast.Call):
        return _built(node)
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError) as error:
        text = one_line(ast.unparse(node), 80)
        raise UsageError(f"--augment: '{text}' is neither a number nor a transform.") from error


def _built(call: ast.Call) -> Any:
    from torchvision.transforms import v2

    name = ast.unparse(call.func).removeprefix("v2.")
    kind = getattr(v2, name, None) if name.isidentifier() else None
    if not (isinstance(kind, type) and issubclass(kind, v2.Transform)):
        known = [n for n in dir(v2) if isinstance(getattr(v2, n), type) and n[0].isupper()]
        close = suggestion(name, [*known, *NAMES]) or f" {_WAY[0].upper()}{_WAY[1:]}."
        raise UsageError(
            f"torchvision.transforms.v2 has no transform '{one_line(name, 40)}'.{close}"
        )
    given = [_value(item) for item in call.args]
    named = {str(item.arg): _value(item.value) for item in call.keywords}
    if isinstance(named.get("interpolation"), str):
        with_name = {mode.value: mode for mode in v2.InterpolationMode}
        named["interpolation"] = with_name.get(named["interpolation"], named["interpolation"])
    try:
        return kind(*given, **named)
    except Exception as error:  # torchvision, on the user's arguments
        text = one_line(ast.unparse(call), 80)
        raise UsageError(f"--augment '{text}': {cause(error)}") from error
