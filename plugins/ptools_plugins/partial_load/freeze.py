"""--freeze: which parameters stay as they were loaded, and which BatchNorms keep their statistics."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ptools.checkpoints.freezing import Manifest, covers
from ptools_plugins.partial_load.naming import check_pattern
from ptools_plugins.partial_load.target import STATISTICS

if TYPE_CHECKING:
    from ptools_plugins.partial_load.target import Target


def manifest(
    target: Target, loaded: Collection[str], patterns: Sequence[str], out: str
) -> tuple[Manifest, list[str]]:
    """Return what to freeze, and warnings. A pattern is `loaded`, or as for --only.

    A BatchNorm stays in eval mode where it is frozen; not where its weights are loaded and its
    statistics are not: those of the new model would be wrong for them.
    """
    for pattern in patterns:
        if pattern != "loaded":
            check_pattern("--freeze", pattern, list(target.shapes))
    chosen = [
        key
        for key in target.shapes
        if any(key in loaded if p == "loaded" else covers(p, key) for p in patterns)
    ]
    frozen = [key for key in chosen if key in target.parameters]
    stay, warnings = _norms(target, set(loaded), set(chosen))
    strange = sorted({key.rpartition(".")[0] or key for key in frozen if key not in loaded})
    if strange:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        warnings.insert(
            0,
            f"{', '.join(strange[:3])}{more}: frozen, though not loaded: "
            "they stay as the new model has them.",
        )
    elements = {target.tied.get(key, key) for key in frozen}
    counts = {
        "tensors": len(frozen),
        "parameters": sum(target.elements(key) for key in elements),
        "trainable": sum(
            target.elements(key)
            for key in target.parameters
            if key not in target.tied and key not in elements
        ),
        "eval": len(stay),
    }
    return Manifest(frozen, stay, counts, out), warnings


def _norms(target: Target, loaded: set[str], chosen: set[str]) -> tuple[list[str], list[str]]:
    stay, warnings = [], []
    for norm in target.norms:
        prefix = f"{norm}." if norm else ""
        affine = [prefix + leaf for leaf in ("weight", "bias") if prefix + leaf in target.shapes]
        statistics = [prefix + leaf for leaf in STATISTICS if prefix + leaf in target.shapes]
        decisive = affine or statistics
        if not decisive:
            continue
        if not chosen.issuperset(decisive):
            if chosen.intersection(affine):
                warnings.append(
                    f"{norm}: only a part of its weights is frozen; its statistics go on moving."
                )
            continue
        if loaded.intersection(affine) and not loaded.issuperset(statistics):
            warnings.append(
                f"{norm}: its weight is frozen, but its statistics were not loaded; "
                "it is left in train mode to find them."
            )
            continue
        stay.append(norm)
    return stay, warnings
