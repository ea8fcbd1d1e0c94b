"""--transform: transforms of torchvision.transforms.v2 as text, and images changed by them.

parse(text)           a Recipe; "Resize(256); RandomCrop(224)", or flip, flip-crop, trivial
Recipe.variants(...)  an image changed K times, each by its own draw
Recipe.numbers(...)   what the last transform gave, for a network
Recipe.shown(...)     the same as pixels: normalisation undone

The text is read by ptools.data.augment, as literals. ToTensor, which leaves tensors alone, is what
torchvision says it was: ToImage and ToDtype(torch.float32, scale=True).
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptools.errors import PtoolsError, UsageError, cause, one_line

if TYPE_CHECKING:
    from torch import Tensor

    from ptools.data.augment import Augment

__all__ = ["Recipe", "parse"]

_OF_TORCH = re.compile(r"(?:\w+\.)*(ToDtype|ConvertImageDtype|LinearTransformation)\b")
_CODE = ("Lambda",)  # takes a function, which no literal is


def parse(text: str) -> Recipe:
    """Return what `text` names. Raises UsageError: unknown names come with the nearest one."""
    from ptools.data import augment

    parts = [part.strip() for part in text.split(";") if part.strip()]
    if not parts or text.strip() == "none":
        raise UsageError("--transform is empty; write it like 'RandomCrop(24); ColorJitter(0.4)'.")
    if text.strip() in augment.NAMES:
        made = augment.parse(text)
        assert made is not None
        return Recipe(text, made.transforms, None if made.transforms else made)
    return Recipe(text, tuple(one for part in parts for one in _sized(part)))


def _sized(part: str) -> Iterator[Any]:
    """Yield what is read; what makes larger images than are ever shown is refused."""
    from ptools_plugins.tb_images import grids

    for one in _read(part):
        size = getattr(one, "size", None)
        sides = size if isinstance(size, (list, tuple)) else [size]
        if any(isinstance(side, int) and side > grids.LARGEST for side in sides):
            raise UsageError(
                f"--transform {one_line(part, 80)}: a side has at most {grids.LARGEST} pixels; "
                "choose a smaller one."
            )
        yield one


def _read(part: str) -> tuple[Any, ...]:
    from ptools.data import augment

    if _OF_TORCH.match(part):
        return (_of_torch(part),)
    for name in _CODE:
        if re.match(rf"(\w+\.)*{name}\b", part):
            raise UsageError(
                f"--transform {name} takes code, and texts are never run; leave it out."
            )
    try:
        with warnings.catch_warnings(action="ignore"):  # ToTensor() is deprecated, and everywhere
            made = augment.parse(part)
    except UsageError as error:
        raise UsageError(str(error).replace("--augment", "--transform")) from error
    return () if made is None else tuple(map(_modern, made.transforms))


def _modern(transform: Any) -> Any:
    """Return ToTensor, and what holds one, as what torchvision says it is."""
    import torch
    from torchvision.transforms import v2

    if isinstance(transform, v2.ToTensor):
        return v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    if isinstance(getattr(transform, "transforms", None), (list, tuple)):
        transform.transforms = list(map(_modern, transform.transforms))
    return transform


def _of_torch(part: str) -> Any:
    """Build what takes a torch.dtype, or lists as tensors: ToDtype(torch.float32, scale=True)."""
    import torch
    from torchvision.transforms import v2

    def value(node: ast.expr) -> Any:
        name = ast.unparse(node).removeprefix("torch.")
        found = getattr(torch, name, None) if name.isidentifier() else None
        if isinstance(found, torch.dtype):
            return found
        literal = ast.literal_eval(node)
        return torch.tensor(literal) if isinstance(literal, list) else literal

    try:
        call = ast.parse(part, mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("it has no brackets")
        kind = getattr(v2, ast.unparse(call.func).rpartition(".")[2])
        named = {str(item.arg): value(item.value) for item in call.keywords}
        return kind(*map(value, call.args), **named)
    except Exception as error:  # torchvision's, on the user's arguments
        text = one_line(part, 80)
        raise UsageError(
            f"--transform '{text}' cannot be read ({cause(error)}); write ToDtype(torch.float32, scale=True)."
        ) from error


@dataclass(frozen=True)
class Recipe:
    """What `text` names: transforms one after the other, or one of augment's that take whole batches."""

    text: str
    transforms: tuple[Any, ...] = ()
    batchwise: Augment | None = None

    @property
    def mixes(self) -> bool:
        """Whether it needs a second image: MixUp and CutMix mix each image with the next one."""
        from torchvision.transforms import v2

        return any(isinstance(one, (v2.MixUp, v2.CutMix)) for one in self.transforms)

    def variants(
        self, image: Tensor, count: int, seed: int, index: int, other: Tensor | None = None
    ) -> list[Tensor]:
        """Return `count` variants as pixels (C, h, w); FiveCrop and the like make several of each.

        Variant k of image `index` is a function of (seed, index, k) alone. `other` is what it is mixed with.
        """
        draws = (self.numbers(image, seed, index, k, other) for k in range(count))
        return [self.shown(one) for several in draws for one in several]

    def numbers(
        self, image: Tensor, seed: int = 0, index: int = 0, k: int = 0, other: Tensor | None = None
    ) -> list[Tensor]:
        """Return what comes out for uint8 (C, H, W): one tensor (C, h, w), or several.

        The global random state is left as it was. Raises UsageError where a transform takes no images.
        """
        import torch

        from ptools.data.batches import seed_of

        drawn = seed_of(seed, index + 1, k)
        if self.batchwise is not None:
            return [self.batchwise(image[None], drawn)[0]]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(drawn)
            return list(_tensors(self._applied(image, other), self.text))

    def _applied(self, image: Tensor, other: Tensor | None) -> Any:
        new: Any = image
        for transform in self.transforms:
            try:
                with warnings.catch_warnings(action="ignore"):
                    if hasattr(transform, "num_classes"):  # MixUp or CutMix
                        new, other = _mixed(transform, new, new if other is None else other), None
                        continue
                    new = _each(transform, new)
                    other = None if other is None else _each(transform, other)
            except PtoolsError:
                raise
            except Exception as error:  # torchvision, on an image it does not take
                raise UsageError(self._failed(transform, image, error)) from error
        return new

    def _failed(self, transform: Any, image: Tensor, error: Exception) -> str:
        name, size = type(transform).__name__, "x".join(map(str, image.shape))
        if "allocate" in str(error) or isinstance(error, MemoryError):
            return (
                f"--transform: what {name} makes of {size} is larger than memory; make it smaller."
            )
        why = one_line(cause(error), 160).rstrip(".")
        hint = "; put ToTensor() before it" if "float" in str(error) else ""
        return f"--transform: {name} fails on an image of {size}: {why}{hint}."

    def shown(self, numbers: Tensor) -> Tensor:
        """Return pixels, uint8 (1 or 3, h, w), of what came out: every Normalize is undone."""
        import torch

        from ptools_plugins.tb_images.arrays import pixels

        if not numbers.is_floating_point():
            return pixels(numbers)
        undone = False
        for transform in reversed(list(_flat(self.transforms))):
            mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (transform.mean, transform.std))
            numbers = numbers * std + mean
            undone = True
        if undone:  # it was 0..1 before; erased or blurred pixels may lie a little outside
            return (numbers.nan_to_num(0.0) * 255).round().clamp(0, 255).to(torch.uint8)
        return pixels(numbers)


def _flat(transforms: Any) -> Iterator[Any]:
    """Yield every Normalize that is surely applied."""
    from torchvision.transforms import v2

    for transform in transforms:
        if isinstance(transform, v2.Normalize):
            yield transform
        elif isinstance(transform, v2.Compose):
            yield from _flat(transform.transforms)


def _each(transform: Any, image: Any) -> Any:
    """Apply it to an image, or to each of several, as FiveCrop makes them."""
    return (
        [transform(one) for one in image] if isinstance(image, (list, tuple)) else transform(image)
    )


def _mixed(transform: Any, image: Tensor, other: Tensor) -> Tensor:
    """Mix two images as in a batch of these two; their labels are of no interest here."""
    import torch

    if image.shape != other.shape:
        raise ValueError("it mixes images of one size; put RandomCrop or Resize before it")
    transform.num_classes = transform.num_classes or 2
    batch = torch.stack([other, image])
    if batch.dtype == torch.uint8:
        batch = batch.float() / 255
    mixed: Tensor = transform(batch, torch.tensor([0, 1]))[0][0]
    return mixed


def _tensors(made: Any, text: str) -> Iterator[Tensor]:
    """Yield the images (C, h, w) of what a transform returned."""
    import torch

    if isinstance(made, (list, tuple)):
        for one in made:
            yield from _tensors(one, text)
        return
    if hasattr(made, "getbands"):  # ToPILImage: a picture of Pillow
        import numpy as np

        array = torch.from_numpy(np.array(made))
        made = array[None] if array.dim() == 2 else array.permute(2, 0, 1)
    if not torch.is_tensor(made) or made.dim() != 3 or 0 in made.shape:
        size = "x".join(map(str, getattr(made, "shape", ()))) or type(made).__name__
        raise UsageError(f"--transform '{one_line(text, 80)}' makes {size}, no image; mend it.")
    yield made.as_subclass(torch.Tensor)
