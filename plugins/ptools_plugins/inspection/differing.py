"""Two files of weights: what only one has, which shapes and dtypes differ, and which values by how much.

compare(a, b)   Difference

Numbers are compared a few MB at a time, without torch. Tensors of other dtypes are compared as numbers:
a copy in half precision differs by what its rounding lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any

from ptools.checkpoints.stored import Stored
from ptools_plugins.inspection.contents import Contents, Item
from ptools_plugins.inspection.figures import blocks, sum_of_squares

_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "backbone.", "encoder.")


@dataclass(frozen=True)
class Changed:
    """A tensor of which both have other values.

    largest    the largest |a - b| of its numbers; None where they cannot be compared as numbers
    relative   ||a - b|| / ||a||, Frobenius norms; None where a is zero
    differing  how many of its `count` numbers differ
    """

    key: str
    shape: tuple[int, ...]
    dtypes: tuple[str, str]
    largest: float | None
    relative: float | None
    differing: int
    count: int


@dataclass(frozen=True)
class Difference:
    """What differs between two files; pairs are (of a, of b).

    where     the key of the weights in each file
    equal     how many of the `count` tensors that both have are equal, number by number
    dtypes    key -> both, where they differ; shapes likewise
    changed   those with other values, the largest relative difference first
    values    plain values beside the weights that differ; None where one has none
    prefix    what the keys of one file have in front, taken off to compare: ("", "module.")
    """

    files: tuple[str, str]
    formats: tuple[str, str]
    where: tuple[str, str]
    only: tuple[list[Item], list[Item]]
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    dtypes: dict[str, tuple[str, str]]
    changed: list[Changed]
    equal: int
    count: int
    values: dict[str, tuple[Any, Any]]
    prefix: tuple[str, str]

    @property
    def same(self) -> bool:
        """Whether all tensors are equal, under the same keys."""
        return not (
            any(self.only) or self.shapes or self.dtypes or self.changed or any(self.prefix)
        )

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        only = [
            [{"key": i.key, "shape": i.shape, "dtype": i.dtype} for i in one] for one in self.only
        ]
        return {
            "files": self.files,
            "formats": self.formats,
            "where": self.where,
            "same": self.same,
            "equal": self.equal,
            "in_both": self.count,
            "only": dict(zip(("a", "b"), only, strict=True)),
            "shapes": self.shapes,
            "dtypes": self.dtypes,
            "changed": [asdict(one) for one in self.changed],
            "values": self.values,
            "prefix": self.prefix,
        }


def compare(a: Contents, b: Contents) -> Difference:
    """Compare two files: weights with weights, wherever they lie in them, and the rest by its keys."""
    ones, others = _weights(a), _weights(b)
    prefix = _prefix(ones, others)
    ones = {key.removeprefix(prefix[0]): item for key, item in ones.items()}
    others = {key.removeprefix(prefix[1]): item for key, item in others.items()}
    ones |= {item.key: item for item in a.rest}
    others |= {item.key: item for item in b.rest}
    both = [(key, ones[key], others[key]) for key in ones if key in others]
    alike = [(key, one, other) for key, one, other in both if one.shape == other.shape]
    changed = [found for key, one, other in alike if (found := _changed(key, one, other))]
    odd = {key for key, one, other in alike if one.dtype != other.dtype} | {c.key for c in changed}
    return Difference(
        files=(str(a.path), str(b.path)),
        formats=(a.format, b.format),
        where=(".".join(a.where), ".".join(b.where)),
        only=(_without(ones, others), _without(others, ones)),
        shapes={key: (x.shape, y.shape) for key, x, y in both if x.shape != y.shape},
        dtypes={key: (x.dtype, y.dtype) for key, x, y in both if x.dtype != y.dtype},
        changed=sorted(changed, key=lambda one: -(one.relative or 0)),
        equal=sum(key not in odd for key, _, _ in alike),
        count=len(both),
        values=_values(a.values, b.values),
        prefix=prefix,
    )


def _weights(found: Contents) -> dict[str, Item]:
    """Return the weights by their keys within the state_dict."""
    return {".".join(item.parts[len(found.where) :]): item for item in found.weights}


def _without(some: dict[str, Item], others: dict[str, Item]) -> list[Item]:
    """Return the tensors that `others` lacks, under the keys that were compared."""
    return [
        replace(item, key=key, parts=tuple(key.split(".")))
        for key, item in some.items()
        if key not in others
    ]


def _values(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        key: (a.get(key), b.get(key)) for key in {**a, **b} if not _alike(a.get(key), b.get(key))
    }


def _alike(a: Any, b: Any) -> bool:
    """Whether plain values are equal; nan is itself here."""
    return repr(a) == repr(b) or (type(a) is not bool and type(b) is not bool and a == b)


def _prefix(a: dict[str, Item], b: dict[str, Item]) -> tuple[str, str]:
    """Return what to take off in front of the keys, ("", "") where they have some in common."""
    if not a or not b or a.keys() & b.keys():
        return "", ""
    for keys, others, first in ((a, b, False), (b, a, True)):
        for prefix in _PREFIXES:
            longer = sum(f"{prefix}{key}" in others for key in keys)
            if 2 * longer > len(keys):
                return (prefix, "") if first else ("", prefix)
    return "", ""


def _changed(key: str, a: Item, b: Item) -> Changed | None:
    """Return how the values differ; None where they do not, as numbers."""
    try:
        if a.place == b.place or _identical(a, b):
            return None
        largest, apart, length, differing = _distance(a, b)
    except TypeError:  # complex: unequal bits are all there is to say
        if _equal_bits(a.tensor, b.tensor):
            return None
        return Changed(key, a.shape, (a.dtype, b.dtype), None, None, a.numel, a.numel)
    if not differing:
        return None
    relative = sqrt(apart / length) if length else None
    return Changed(key, a.shape, (a.dtype, b.dtype), largest, relative, differing, a.numel)


def _equal_bits(one: Any, other: Any) -> bool:
    if isinstance(one, Stored) and isinstance(other, Stored):
        return one.equals(other)
    return bool((one == other).all())


def _identical(a: Item, b: Item) -> bool:
    """Whether two tensors are the same to the bit; most are, and this is four times as fast."""
    import numpy as np

    if a.dtype != b.dtype:
        return False
    words = (
        (one.view(f"u{one.itemsize}"), two.view(f"u{two.itemsize}")) for one, two in _pairs(a, b)
    )
    return all(np.array_equal(one, two) for one, two in words)


def _distance(a: Item, b: Item) -> tuple[float, float, float, int]:
    """Return the largest difference, ||a - b||^2, ||a||^2, and how many differ; nan equals nan."""
    import numpy as np

    largest = apart = length = 0.0
    differing = 0
    for one, other in _pairs(a, b):
        x, y = one.astype("f8"), other.astype("f8")
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        differing += int(x.size - same.sum())
        finite = np.isfinite(x) & np.isfinite(y)
        gap = x[finite] - y[finite]
        largest = max(largest, float(np.abs(gap).max(initial=0)))
        if not (same | finite).all():  # nan or inf in one of them only
            largest = float("inf")
        apart += sum_of_squares(gap)
        length += sum_of_squares(x[finite])
    return largest, apart, length, differing


def _pairs(a: Item, b: Item) -> Iterator[tuple[Any, Any]]:
    return zip(blocks(a.tensor), blocks(b.tensor), strict=True)
