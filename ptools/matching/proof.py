"""What follows, step by step, from what shapes alone decide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptools.matching.evidence import Evidence, Floats, Ints

Bools = NDArray[np.bool_]
PROOF = 3.0  # the lead of a pair that follows from what is known
_STEPS = 6


def proved(evidence: Evidence, picked: Bools) -> set[int]:
    """Return the target units of the picked pairs that follow from those that can be no others.

    What no other unit could be is known; what names make of that is known next, where it leaves no
    doubt on either side. Order has no voice in it.
    """
    pairs = evidence.pairs
    of_source, of_target = evidence.choices
    known = picked & (of_target[pairs.target] == 1) & (of_source[pairs.source] == 1)
    for _ in range(_STEPS):
        named = evidence.weigh(known.astype(float), pairs)
        unnamed = named - evidence.prior  # likeness may hold it back, but is no proof
        lead = np.min(
            [
                _lead(weights, side, picked, units)
                for weights in (named, unnamed)
                for side, units in zip((pairs.source, pairs.target), evidence.shape, strict=True)
            ],
            axis=0,
        )
        more = picked & (known | (lead > PROOF))
        if (more == known).all():
            break
        known = more
    return set(pairs.target[known].tolist())


def _lead(weights: Floats, side: Ints, picked: Bools, units: int) -> Floats:
    """Return how far each picked pair is ahead of the others of its unit."""
    best = np.full(units, -np.inf)
    np.maximum.at(best, side[~picked], weights[~picked])
    return np.asarray(np.where(np.isfinite(best[side]), weights - best[side], np.inf))
