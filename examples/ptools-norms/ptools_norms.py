"""Print the L2 norm of every tensor in a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ptools import output
from ptools.options import FilePath, examples, json_option

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ptools.data import ImageSet


@click.command(epilog=examples("ptools norms best.pth", "ptools norms best.pth --json"))
@click.argument("file", type=FilePath())
@json_option
def command(file: Path, as_json: bool) -> None:
    found = norms(file)
    if as_json:
        output.document(found)
    else:
        output.table(("tensor", "norm"), [(key, f"{norm:.4g}") for key, norm in found.items()])


def norms(file: Path) -> dict[str, float]:
    """Return the L2 norm of every floating-point tensor in `file`. Raises FileError."""
    from ptools import checkpoints

    content = checkpoints.load(file)
    state = content.get("state_dict", content)
    return {key: t.norm().item() for key, t in state.items() if t.is_floating_point()}


def linear(classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A single Linear layer on the flattened image."""
    from math import prod

    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), classes))


def stripes() -> ImageSet:
    """400 made 8x8 images: horizontal or vertical stripes under noise."""
    import torch

    from ptools.data import split

    random = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    rows = (torch.arange(8) % 2 * 160).view(1, 8, 1).expand(400, 8, 8)
    images = torch.where(labels.view(-1, 1, 1) == 0, rows, rows.transpose(1, 2))
    images = images + torch.randint(0, 96, images.shape, generator=random)
    return split("stripes", ("rows", "columns"), images.unsqueeze(1).to(torch.uint8), labels)
