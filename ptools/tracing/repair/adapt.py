"""Repairs on the data's side: another layout, type or size of what goes into the model or the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import log
from typing import NamedTuple

import torch
from torch import nn

from ptools.tracing.repair.case import Case
from ptools.tracing.repair.values import Fault, said

_SIDES = (
    28,
    32,
    48,
    56,
    64,
    84,
    96,
    112,
    128,
    160,
    192,
    224,
    227,
    240,
    256,
    288,
    299,
    320,
    384,
    448,
    512,
)


class Adapt(NamedTuple):
    """`text` says it with an expression in x (or y, for a target); `change` does it."""

    text: str
    place: int
    change: Callable[[torch.Tensor], torch.Tensor]
    target: bool = False

    def apply(self, values: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the tensors with this one changed."""
        return [self.change(v) if i == self.place else v for i, v in enumerate(values)]


def is_at_fault(case: Case) -> bool:
    """Return whether the data, not the model, is most likely wrong."""
    found, error = case.misfit, case.crash.error
    if isinstance(error, Fault):
        return _target_at_fault(error)
    if found is None or found.tensor is None:
        return "image" in said(case.crash.error).lower()  # the assertion of a vision transformer
    place = case.is_input(found.tensor)
    if found.kind == "batch" or _unbatched(case):
        return True
    if found.kind == "rank" and case.inputs and case.inputs[0].dim() == 1:
        return True
    if place is None:
        return False
    if found.kind in ("dtype", "rank", "value"):
        return True
    return found.kind == "features" and found.want in list(found.tensor.shape)


def _target_at_fault(fault: Fault) -> bool:
    """Return whether the target has a type, range or shape that no output of a model could suit."""
    out, y = fault.detail.get("out"), fault.detail.get("target")
    if fault.kind == "label_range":
        return bool(fault.detail["most"] in (255, fault.detail["classes"]))
    if fault.kind == "label_shape" and isinstance(out, torch.Tensor) and y is not None:
        return bool(y.dim() == out.dim() and y.shape[0] == out.shape[0])
    return fault.kind in ("label_dtype", "target_dtype")


def _unbatched(case: Case) -> bool:
    """A convolution takes [C, H, W] without a word; the layers after it then stop."""
    if not case.inputs or case.model is None:
        return False
    rank = case.inputs[0].dim()
    first = next((m for m in case.model.modules() if isinstance(m, nn.modules.conv._ConvNd)), None)
    kinds = {2: nn.Conv1d, 3: nn.Conv2d, 4: nn.Conv3d}
    return rank in kinds and isinstance(first, kinds[rank])


def adaptations(case: Case) -> Iterator[Adapt]:
    """Yield changes of the inputs, the likeliest first."""
    found = case.misfit
    for place, x in enumerate(case.inputs):
        yield from _types(case, place, x)
        if found is not None and found.kind in ("value", "dtype") and not _is_position(case):
            if found.kind == "value" and found.want:
                most = found.want - 1
                yield Adapt(f"keep the ids within 0 to {most}: x.clamp(max={most})", place,
                            lambda x, most=most: x.clamp(min=0, max=most))  # type: ignore[misc]  # fmt: skip
            continue
        if found is not None and found.kind == "batch":
            text = "use batches of at least 2: DataLoader(..., drop_last=True)"
            yield Adapt(text, place, lambda x: torch.cat([x, x]))
        yield from _layouts(case, place, x)


def _is_position(case: Case) -> bool:
    """Return whether the ids were counted, arange(), and not given."""
    found = case.misfit
    return found is None or case.is_input(found.tensor) is None


def _types(case: Case, place: int, x: torch.Tensor) -> Iterator[Adapt]:
    embeds = isinstance(case.crash.module, (nn.Embedding, nn.EmbeddingBag)) or "indices" in said(
        case.crash.error
    )
    if x.is_floating_point() and embeds:
        # the noise that stands for the data is no token id when negative
        yield Adapt("token ids are whole numbers: x.long()", place, lambda x: x.abs().long())
    elif x.dtype == torch.uint8:
        yield Adapt("x.float() / 255", place, lambda x: x.float() / 255)
    elif x.dtype not in (torch.float32, torch.bool) and not embeds:
        yield Adapt("x.float()", place, lambda x: x.float())
        if x.is_floating_point():
            yield Adapt("x.double()", place, lambda x: x.double())


def _layouts(case: Case, place: int, x: torch.Tensor) -> Iterator[Adapt]:
    shape = list(x.shape)
    yield from _moved(case, place, x)
    if x.dim() == 4:
        if shape[3] <= 4 < shape[1]:
            yield Adapt(
                "NHWC to NCHW: x.permute(0, 3, 1, 2)", place, lambda x: x.permute(0, 3, 1, 2)
            )
        if shape[1] == 1:
            yield Adapt("gray to RGB: x.repeat(1, 3, 1, 1)", place, lambda x: x.repeat(1, 3, 1, 1))
        if shape[1] == 3:
            yield Adapt(
                "RGB to gray: x.mean(1, keepdim=True)", place, lambda x: x.mean(1, keepdim=True)
            )
        if shape[1] == 4:
            yield Adapt("without alpha: x[:, :3]", place, lambda x: x[:, :3])
        yield Adapt("add the channel dimension: x.unsqueeze(1)", place, lambda x: x.unsqueeze(1))
        yield Adapt("add the batch dimension: x.unsqueeze(0)", place, lambda x: x.unsqueeze(0))
        yield Adapt("x.flatten(1)", place, lambda x: x.flatten(1))
        yield Adapt("x.squeeze(1)", place, lambda x: x.squeeze(1))
    if x.dim() == 3:
        if shape[2] <= 4 < shape[0]:
            yield Adapt("HWC to NCHW: x.permute(2, 0, 1).unsqueeze(0)", place,
                        lambda x: x.permute(2, 0, 1).unsqueeze(0))  # fmt: skip
        yield Adapt("add the batch dimension: x.unsqueeze(0)", place, lambda x: x.unsqueeze(0))
        yield Adapt("add the channel dimension: x.unsqueeze(1)", place, lambda x: x.unsqueeze(1))
        yield Adapt("x.transpose(1, 2)", place, lambda x: x.transpose(1, 2))
        yield Adapt("x.transpose(0, 1)", place, lambda x: x.transpose(0, 1))
        yield Adapt("x.flatten(1)", place, lambda x: x.flatten(1))
    if x.dim() == 2:
        yield Adapt("add the batch dimension: x.unsqueeze(0)", place, lambda x: x.unsqueeze(0))
        yield Adapt("add the channel dimension: x.unsqueeze(1)", place, lambda x: x.unsqueeze(1))
        yield Adapt("x.unsqueeze(-1)", place, lambda x: x.unsqueeze(-1))
        yield Adapt("add batch and channel: x[None, None]", place, lambda x: x[None, None])
    if x.dim() == 1:
        yield Adapt("add the batch dimension: x.unsqueeze(0)", place, lambda x: x.unsqueeze(0))
        yield Adapt("x.unsqueeze(1)", place, lambda x: x.unsqueeze(1))


def _moved(case: Case, place: int, x: torch.Tensor) -> Iterator[Adapt]:
    """Bring the dimension that has the wanted number of channels to where channels belong."""
    found = case.misfit
    if found is None or found.kind not in ("features", "rank") or x.dim() < 4:
        return
    for axis in range(2, x.dim()):
        if int(x.shape[axis]) == found.want and x.dim() == 5:
            order = (0, axis, *(i for i in range(1, x.dim()) if i != axis))
            text = f"channels first: x.permute({', '.join(map(str, order))})"
            yield Adapt(text, place, lambda x, order=order: x.permute(*order))  # type: ignore[misc]
    if x.dim() == 5:
        yield Adapt("time into the batch: x.flatten(0, 1)", place, lambda x: x.flatten(0, 1))
    if x.dim() == 4 and int(x.shape[3]) == 1 and found.want == 3:
        text = "gray NHWC to RGB NCHW: x.permute(0, 3, 1, 2).repeat(1, 3, 1, 1)"
        yield Adapt(text, place, lambda x: x.permute(0, 3, 1, 2).repeat(1, 3, 1, 1))


def resized(case: Case) -> Iterator[Adapt]:
    """Yield other image sizes (or sequence lengths), near ones first."""
    for place, x in enumerate(case.inputs[:1]):
        if x.dim() == 4 and x.is_floating_point():
            for height, width in _sizes(int(x.shape[2]), int(x.shape[3])):
                yield Adapt(f"resize the input to {height}x{width}", place,
                            lambda x, size=(height, width): x.new_zeros(*x.shape[:2], *size))  # type: ignore[misc]  # fmt: skip
        elif x.dim() == 2 and not x.is_floating_point():
            for length in _lengths(case, int(x.shape[1])):
                yield Adapt(f"at most {length} tokens: x[:, :{length}]", place,
                            lambda x, n=length: x[:, :n])  # type: ignore[misc]  # fmt: skip


def _sizes(height: int, width: int) -> Iterator[tuple[int, int]]:
    seen = {(height, width)}
    for step in (2, 4, 8, 16, 32):
        for up in (True, False):
            size = (_multiple(height, step, up), _multiple(width, step, up))
            if size not in seen:
                seen.add(size)
                yield size
    for side in sorted(_SIDES, key=lambda side: abs(log(side / height))):
        if (side, side) not in seen:
            yield side, side


def _multiple(size: int, step: int, up: bool) -> int:
    """Return the next multiple of `step` above `size`, or below it; at least one step."""
    return max(step, (-(-size // step) if up else size // step) * step)


def _lengths(case: Case, length: int) -> Iterator[int]:
    found = case.misfit
    if found is not None and found.kind == "value" and found.want and found.want < length:
        yield found.want
    for n in (512, 256, 128, 64, 32, 16):
        if n < length:
            yield n


def targets(fault: Fault) -> Iterator[Adapt]:
    """Yield changes of the target that the loss compares the output with."""
    y, out = fault.detail.get("target"), fault.detail.get("out")
    if y is None or not isinstance(out, torch.Tensor):
        return

    def made(text: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Adapt:
        return Adapt(text, 0, change, target=True)

    if fault.kind == "label_dtype":
        yield made("class labels are int64: y.long()", lambda y: y.long())
    if fault.kind == "target_dtype":
        yield made("y.float()", lambda y: y.float())
    if fault.kind == "label_range" and fault.detail["most"] == 255:
        yield made(
            "255 marks what is not labelled: CrossEntropyLoss(ignore_index=255)",
            lambda y: torch.where(y == 255, -100, y % fault.detail["classes"]),
        )
    elif fault.kind == "label_range" and fault.detail["most"] == fault.detail["classes"] > 1:
        yield made("labels start at 0: y - 1", lambda y: (y - 1).clamp(min=0))
    if fault.kind in ("label_shape", "target_shape", "loss", "label_dtype", "target_dtype"):
        for text, change in _reshapes(y, out):
            yield made(text, change)
            yield made(f"{text}.long()", lambda y, change=change: change(y).long())  # type: ignore[misc]
            yield made(f"{text}.float()", lambda y, change=change: change(y).float())  # type: ignore[misc]


def _reshapes(
    y: torch.Tensor, out: torch.Tensor
) -> Sequence[tuple[str, Callable[[torch.Tensor], torch.Tensor]]]:
    found: list[tuple[str, Callable[[torch.Tensor], torch.Tensor]]] = []
    if y.dim() > 1 and y.shape[1] == 1:
        found.append(("y.squeeze(1)", lambda y: y.squeeze(1)))
    if y.dim() > 1 and y.shape[-1] == 1:
        found.append(("y.squeeze(-1)", lambda y: y.squeeze(-1)))
    if y.dim() == out.dim() - 1:
        found.append(("y.unsqueeze(1)", lambda y: y.unsqueeze(1)))
        found.append(("y.unsqueeze(-1)", lambda y: y.unsqueeze(-1)))
    if y.shape == out.shape or y.dim() == out.dim():
        found.append(("y.argmax(1)", lambda y: y.argmax(1)))
    if y.numel() == out.numel():
        found.append(("y.view_as(out)", lambda y, shape=out.shape: y.reshape(shape)))  # type: ignore[misc]
    if y.dim() == 2:
        found.append(("y.flatten()", lambda y: y.flatten()))
    return found
