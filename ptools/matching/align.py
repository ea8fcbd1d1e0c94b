"""Alignment of two sequences that keeps their order (Needleman & Wunsch 1970, affine gaps: Gotoh 1982)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OPEN, EXTEND = 0.6, 0.02  # what a gap costs, and each of its elements


def align(scores: Floats) -> list[tuple[int, int]]:
    """Return the pairs (i, j) of the best alignment; `scores` (n, m) is -inf where i may not meet j."""
    n, m = scores.shape
    best = np.empty((n + 1, m + 1))  # ends in anything
    skip_i = np.empty((n + 1, m + 1))  # ends in a gap over i
    skip_j = np.empty((n + 1, m + 1))
    along = EXTEND * np.arange(m + 1)
    best[0] = -along - OPEN
    best[0, 0] = 0
    skip_i[0] = skip_j[:, 0] = -np.inf
    met, run, diagonal = np.empty(m + 1), np.empty(m + 1), np.empty(m)
    for i in range(1, n + 1):
        above, row, gap = best[i - 1], skip_i[i], skip_j[i, 1:]
        np.subtract(above, OPEN, out=row)
        np.maximum(row, skip_i[i - 1], out=row)
        row -= EXTEND
        np.add(above[:-1], scores[i - 1], out=diagonal)
        met[0] = row[0]
        np.maximum(row[1:], diagonal, out=met[1:])
        np.add(met, along, out=run)
        np.maximum.accumulate(run, out=run)
        np.subtract(run[:-1], OPEN, out=gap)
        gap -= along[1:]
        np.maximum(met, skip_j[i], out=best[i])
    return _trace(scores, best, skip_i, skip_j)


def _trace(scores: Floats, best: Floats, skip_i: Floats, skip_j: Floats) -> list[tuple[int, int]]:
    """Walk back from the end of both sequences."""
    pairs = []
    i, j = scores.shape
    where = "best"
    while i > 0 and j > 0:
        if where == "best":
            if best[i, j] <= skip_i[i, j] + 1e-9:  # of equal ones the first blocks, not the last
                where = "skip_i"
            elif best[i, j] <= skip_j[i, j] + 1e-9:
                where = "skip_j"
            else:
                i, j = i - 1, j - 1
                pairs.append((i, j))
        elif where == "skip_i":
            if skip_i[i, j] >= best[i - 1, j] - OPEN - EXTEND - 1e-9:
                where = "best"
            i -= 1
        else:
            if skip_j[i, j] >= best[i, j - 1] - OPEN - EXTEND - 1e-9:
                where = "best"
            j -= 1
    return pairs[::-1]


def chains(scores: Floats, most: int = 6) -> list[list[tuple[int, int]]]:
    """Return the best alignment, then that of what it left, and so on: parts may have changed places."""
    free_i, free_j = np.arange(scores.shape[0]), np.arange(scores.shape[1])
    found: list[list[tuple[int, int]]] = []
    while len(found) < most and len(free_i) and len(free_j):
        path = [(int(free_i[i]), int(free_j[j])) for i, j in align(scores[np.ix_(free_i, free_j)])]
        if not path:
            break
        found.append(path)
        free_i = np.setdiff1d(free_i, [i for i, _ in path])
        free_j = np.setdiff1d(free_j, [j for _, j in path])
    return found
