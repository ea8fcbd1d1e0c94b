"""Frames of what is inside: feature maps and kernels of a network, one layer on batches.

of_network(...)   the layers of a network for every image, the input beside them, a step per image
of_layer(...)     a fresh layer on batches: its input and its output, a step per batch
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ptools.data.pictures import PictureError
from ptools.errors import PtoolsError, UsageError, cause, one_line
from ptools_plugins.tb_images import grids, layers
from ptools_plugins.tb_images.frames import Frame, coloured, leaves_some, same, tiled

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ptools.tracing.layers import Layer
    from ptools_plugins.tb_images.network import Network
    from ptools_plugins.tb_images.sources import Entry
    from ptools_plugins.tb_images.transforming import Recipe

__all__ = ["fresh", "of_layer", "of_network"]


def of_network(
    network: Network,
    names: Sequence[str],
    entries: Sequence[Entry],
    *,
    weights: dict[str, Tensor],
    by_map: bool,
    tag: str,
    recipe: Recipe | None,
    columns: int | None,
    seed: int,
    unread: Callable[[PictureError], object],
) -> Iterator[Frame]:
    """Yield the kernels, and per image the input and each layer's maps. Raises PtoolsError."""
    for name, weight in weights.items():
        about = f"kernels {'x'.join(map(str, weight.shape))}; middle grey is zero"
        made = partial(layers.kernels, weight, columns=columns)
        yield Frame(f"{tag}/{name} kernels", 0, made, f"{name} kernels", about, drawn=True)
    step = 0
    for index, entry in enumerate(entries):
        try:
            shown, numbers = _input(network, entry, recipe, seed, index)
        except PictureError as error:
            unread(error)
            continue
        caption = entry.label or entry.name
        yield Frame(f"{tag}/input", step, partial(same, shown), caption, begins=True)
        for name, values in network.watch(numbers, names).items():
            about = f"output {'x'.join(map(str, values.shape))}, the input beside it"
            make = partial(layers.maps, values, shown, by_map=by_map, columns=columns)
            yield Frame(f"{tag}/{name}", step, make, name, about, drawn=True)
        step += 1


def _input(
    network: Network, entry: Entry, recipe: Recipe | None, seed: int, index: int
) -> tuple[Tensor, Tensor]:
    """Return an image as it is shown, and as numbers (1, C, H, W): prepared by --transform if given."""
    from ptools.data.pictures import fit

    image = coloured(entry.read(), network.geometry.channels)
    if recipe is None:
        image = fit(image, network.geometry)
        return image, network.input(image)
    made = recipe.numbers(image, seed, index)[0]
    shown = recipe.shown(made)
    return shown, made[None] if made.is_floating_point() else network.input(made)


# -- one layer ---------------------------------------------------------------------------------------


def fresh(text: str, seed: int, shape: tuple[int, int, int]) -> tuple[nn.Module, Layer, int | None]:
    """Build the layer, or the layers, of `--op`; return it, the first one, and the channels it takes.

    `?` becomes what images of `shape` (C, H, W) need. Raises UsageError.
    """
    import torch

    from ptools.tracing import filling
    from ptools.tracing import layers as written

    like = torch.empty((1, *shape), device="meta")
    parsed = filling.fill(written.parse(text), [like])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % 2**63)
        net = written.build(parsed, "cpu").eval()
    takes = (getattr(module, "in_channels", None) for module in net.modules())
    channels = next((number for number in takes if isinstance(number, int)), None)
    return net, parsed[0], channels


def of_layer(
    net: nn.Module,
    text: str,
    entries: Sequence[Entry],
    read: Callable[[Entry], Tensor],
    size: int,
    *,
    tag: str,
    drop_last: bool,
    columns: int | None,
    kernels: bool,
    unread: Callable[[PictureError], object],
) -> Iterator[Frame]:
    """Yield input and output of a layer, batch by batch: images go in as 0..1. Raises PtoolsError."""
    if drop_last:
        leaves_some(len(entries), size)
    has_weights = any(p.dim() >= 2 for p in net.parameters())
    about = one_line(text, 200)
    if kernels:
        weight = next((p for p in net.parameters() if p.dim() >= 3), None)
        if weight is None:
            raise UsageError(f"--kernels: {about} has no kernels; leave it out.")
        make = partial(layers.kernels, weight, columns=columns)
        yield Frame(f"{tag}/kernels", 0, make, "kernels", about, drawn=True)
    step = 0
    for start in range(0, len(entries), size):
        images = list(_read(entries[start : start + size], read, unread))
        if not images or (drop_last and len(images) < size):
            continue
        values = _run(net, images, about)
        show: Any = partial(layers.outputs, values, colours=not has_weights, columns=columns)
        grid = partial(tiled, images, None, columns)
        small = grids.are_small(images)
        yield Frame(f"{tag}/input", step, grid, f"input {step}", drawn=small, begins=True)
        yield Frame(
            f"{tag}/output", step, show, f"output {step}", about, drawn=small or has_weights
        )
        step += 1


def _read(
    some: Sequence[Entry],
    read: Callable[[Entry], Tensor],
    unread: Callable[[PictureError], object],
) -> Iterator[Tensor]:
    for entry in some:
        try:
            yield read(entry)
        except PictureError as error:
            unread(error)


def _run(net: nn.Module, images: Sequence[Tensor], text: str) -> list[Tensor]:
    import torch

    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise UsageError("--op takes images of one size; choose a --size.")
    batch = torch.stack(list(images)).float() / 255
    try:
        with torch.inference_mode():
            made = net(batch)
    except Exception as error:  # PyTorch, on the user's layer
        size = "x".join(map(str, batch.shape[1:]))
        way = f'look with: ptools shapes --in {size} "{text}"'
        raise PtoolsError(
            f"--op {text} does not take {size}: {one_line(cause(error), 160)}; {way}"
        ) from error
    made = made[0] if isinstance(made, (list, tuple)) else made
    return list(made)
