"""Two networks, the same inputs: how far apart the outputs are.

Check          the largest relative difference and the top-1 that differ, of one kind of input
compare(...)   one Check of some batches
noise(...)     batches of random inputs

The relative difference of a sample is max |a - b| / max |a|: the largest difference of any of its
outputs, as a share of its largest output in the original. (Dividing each output by itself would make
a difference of 1e-9 at an output of 1e-9 a fault.) Top-1 is compared where the output is (N, classes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ptools.errors import PtoolsError, cause

if TYPE_CHECKING:
    from torch import Tensor

    from ptools.tracing.inputs import Input

    Run = Callable[[list["Tensor"]], list["Tensor"]]
    Batch = tuple[list["Tensor"], "Tensor | None"]  # inputs, labels

__all__ = ["LIMIT", "Check", "compare", "noise"]

LIMIT = 1e-4  # the largest relative difference that is still the same network


@dataclass
class Check:
    """What came of comparing on one kind of input, `on`: "noise, batch 5", "digits, test".

    `worst` is the largest relative difference of a sample; `differ` how many of `samples` have another
    top-1 (None: the outputs are no classes), `first` the number of the first of them. `right`, on
    labelled images: how many the original and the exported network get right. `varies`: whether the
    samples have outputs further apart than the limit; where they have not, a constant would pass.
    """

    on: str
    samples: int = 0
    worst: float = 0.0
    differ: int | None = None
    first: int | None = None
    right: tuple[int, int] | None = None
    varies: bool = False
    says: str | None = None  # why no comparison was possible

    @property
    def passed(self) -> bool:
        return self.says is None and self.worst <= LIMIT and not self.differ

    @property
    def fault(self) -> str:
        """What is wrong, in words."""
        if self.says:
            return f"{self.says} ({self.on})"
        if self.worst > LIMIT:
            return f"the outputs differ by up to {self.worst:.2g} of the largest ({self.on})"
        text = f"top-1 differs in {self.differ} of {self.samples} samples"
        return f"{text}, first in sample {self.first} ({self.on})"

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}


def noise(inputs: Sequence[Input], batch: int, repeats: int) -> Iterable[Batch]:
    """Yield `repeats` batches of standard normal noise, seeded; of whole numbers those allowed."""
    import torch

    random = torch.Generator().manual_seed(batch)
    for _ in range(repeats):
        made = []
        for one in inputs:
            dtype = getattr(torch, one.dtype or "float32")
            shape = (batch, *one.shape)
            if dtype.is_floating_point:
                made.append(torch.randn(shape, generator=random).to(dtype))
            else:
                below = one.below or (2 if one.dtype == "bool" else 1)
                made.append(torch.randint(0, below, shape, generator=random).to(dtype))
        yield made, None


def compare(on: str, original: Run, exported: Run, batches: Iterable[Batch]) -> Check:
    """Run both on `batches`. Raises PtoolsError where the original itself cannot be compared with."""
    check = Check(on)
    first: list[Tensor] = []
    for inputs, labels in batches:
        wanted = _wanted(original, inputs)
        try:
            got = exported(inputs)
        except Exception as error:  # the exported network is whatever the exporter made
            check.says = f"the exported network does not run: {cause(error)[:200]}"
            return check
        if not _alike(wanted, got, check):
            return check
        for a, b in zip(wanted, got, strict=True):
            check.worst = max(check.worst, _relative(a, b))
        first = first or [t[:1] for t in wanted if t.dim()]
        check.varies |= any(
            t.shape[1:] == one.shape[1:] and _relative(t, one.expand_as(t)) > LIMIT
            for t, one in zip((t for t in wanted if t.dim()), first, strict=True)
        )
        if len(wanted) == 1 and wanted[0].dim() == 2 and wanted[0].shape[1] > 1:
            _top1(wanted[0], got[0], check, labels)
        check.samples += len(inputs[0])
    return check


def _wanted(original: Run, inputs: list[Tensor]) -> list[Tensor]:
    """Return the original's outputs, if they are any to compare with."""
    try:
        found, again = original(inputs), original(inputs)
    except Exception as error:  # the network is anybody's code
        raise PtoolsError(
            f"the network itself takes no batch of {len(inputs[0])}: {cause(error)[:200]}"
        ) from error
    for a, b in zip(found, again, strict=True):
        if not a.isfinite().all():
            raise PtoolsError(
                "the network itself returns nan or inf: nothing can be compared with that; "
                "check its weights with 'ptools inspect'."
            )
        if not a.equal(b):
            raise PtoolsError(
                "the network gives two answers to one input, even in eval mode, and no file can "
                "do that: look for functional.dropout without training=self.training."
            )
    return found


def _alike(wanted: list[Tensor], got: list[Tensor], check: Check) -> bool:
    shapes = [[tuple(t.shape) for t in some] for some in (wanted, got)]
    if shapes[0] != shapes[1]:
        here, there = (", ".join(map(str, some)) for some in shapes)
        check.says = f"the exported network returns {there}, not {here}"
    return check.says is None


def _relative(a: Tensor, b: Tensor) -> float:
    """Return max |a - b| / max |a| of the worst sample; nan is as far away as can be."""
    import torch

    rows = (len(a), -1) if a.dim() and len(a) else (1, -1)
    a, b = (t.to(torch.float64).reshape(rows) for t in (a, b))
    if not a.numel():
        return 0.0
    far = (a - b).abs().amax(1)
    share = torch.where(far == 0, far, far / a.abs().amax(1))
    return float(share.nan_to_num(nan=torch.inf).max())


def _top1(a: Tensor, b: Tensor, check: Check, labels: Tensor | None) -> None:
    ours, theirs = a.argmax(1), b.argmax(1)
    wrong = (ours != theirs).nonzero().flatten()
    if len(wrong) and check.first is None:
        check.first = check.samples + int(wrong[0])
    check.differ = (check.differ or 0) + len(wrong)
    if labels is not None:
        right = [int((found == labels).sum()) for found in (ours, theirs)]
        before = check.right or (0, 0)
        check.right = (before[0] + right[0], before[1] + right[1])
