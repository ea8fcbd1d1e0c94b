"""What a model is fed with: shapes and data types, on the meta device or in memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from ptools.errors import UsageError

if TYPE_CHECKING:
    import torch

DTYPES = (
    "float32", "float64", "float16", "bfloat16",
    "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
)  # fmt: skip
_VALUES = {"bool": 2, "int8": 2**7, "uint8": 2**8, "int16": 2**15, "int32": 2**31}
_MOST = 2**48  # elements: what torch can still address with a batch in front
_SPEC = re.compile(
    r"(?P<sizes>-?[0-9]{1,18}([x×,]-?[0-9]{1,18})*)?(:(?P<dtype>\w+)(:(?P<below>[0-9]{1,18}))?)?"
)


class Input(NamedTuple):
    """One tensor that goes in: its shape, its data type (None: that of the model), its values.

    `below`: the values are whole numbers 0 to below - 1 (token ids, class labels); None: not said.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    below: int | None = None

    def __str__(self) -> str:
        text = "x".join(map(str, self.shape))
        return (
            text
            + (f":{self.dtype}" if self.dtype else "")
            + (f":{self.below}" if self.below else "")
        )

    def batched(self, batch: int | None) -> Input:
        """Return it with the batch in front: (C, H, W) -> (N, C, H, W); None leaves it as it is."""
        return self if batch is None else self._replace(shape=(batch, *self.shape))

    def tensor(self, device: str, default: torch.dtype, *, unit: bool = False) -> torch.Tensor:
        """Return a tensor of this shape: noise (`unit`: within 0 to 1), or whole numbers below `below`.

        Whole numbers of which nothing is said are 0: as token ids and labels they are always right.
        """
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype) if self.dtype else default
        if device == "meta":
            return torch.empty(self.shape, dtype=dtype, device="meta")
        generator = torch.Generator().manual_seed(0)
        if not self.below and (dtype.is_floating_point or dtype.is_complex):
            noise = torch.rand if unit else torch.randn
            return noise(self.shape, generator=generator).to(device, dtype)
        if not self.below:
            return torch.zeros(self.shape, dtype=dtype, device=device)
        values = torch.randint(0, self.below, self.shape, generator=generator)
        if values.numel():
            values.view(-1)[-1] = self.below - 1  # the largest one is there, whatever the draw
        return values.to(device, dtype)


def parse(text: str) -> Input:
    """Read `3x224x224`, `16:int64` or `16:int64:1000` (values 0 to 999). Raises UsageError."""
    match = _SPEC.fullmatch(text.strip())
    if not match or not text.strip():
        raise UsageError(
            f"'{text}' is no size: write 32, 3x224x224, or 16:int64 for whole numbers."
        )
    dtype = match["dtype"]
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"'{dtype}' is no data type: {', '.join(DTYPES)}.")
    below = int(match["below"]) if match["below"] else None
    if below is not None and below < 1:
        raise UsageError(
            f"'{text}': values are below the bound, which is at least 1: 16:int64:1000."
        )
    if below is not None and below > _VALUES.get(dtype or "", below):
        raise UsageError(
            f"'{text}': {dtype} has no values up to {below - 1}; write int64 in its place."
        )
    sizes = tuple(int(part) for part in re.split("[x×,]", match["sizes"])) if match["sizes"] else ()
    if min(sizes, default=1) < 1:
        raise UsageError(f"'{text}': every size must be at least 1.")
    if prod(sizes) > _MOST:
        raise UsageError(
            f"'{text}': no tensor has {prod(sizes):.0e} elements; write smaller sizes."
        )
    return Input(sizes, dtype, below)


def tensors(
    inputs: Sequence[Input], device: str, default: torch.dtype, *, unit: bool = False
) -> list[torch.Tensor]:
    """Return the tensors a model is called with, or (`unit`) a loss compares its output with."""
    return [one.tensor(device, default, unit=unit) for one in inputs]
