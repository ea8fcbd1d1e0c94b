"""From a failure in forward() to the edits worth trying, the likeliest first.

features      sizes of features and channels, a missing Flatten, another layout
kinds         rank, data type, device, values, what is too small, what is no tensor
functions     what forward() computes by itself: sums, concatenations, products, views
figures       last: a number in the source that equals a wrong size, replaced by the right one
constructors  names and constructors;  faults: what is wrong without an exception
"""

from __future__ import annotations

from collections.abc import Iterator

from ptools.tracing.repair import features, figures, functions, kinds
from ptools.tracing.repair.case import Candidate, Case

_RULES = {
    "features": features.features,
    "shape": features.features,
    "rank": kinds.rank,
    "dtype": kinds.dtype,
    "small": kinds.small,
    "value": kinds.value,
    "tuple": kinds.tuple_,
    "missing": kinds.missing,
    "module": kinds.module_,
    "device": kinds.device,
    "keys": kinds.keys,
}


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield edits of the source for a failure in forward()."""
    if case.misfit is not None and case.misfit.kind in _RULES:
        yield from _RULES[case.misfit.kind](case, case.misfit)
    yield from functions.candidates(case)
    yield from figures.candidates(case)
