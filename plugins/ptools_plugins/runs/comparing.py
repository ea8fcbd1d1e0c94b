"""Two runs side by side: what was set differently, and what came of it.

Comparison         both runs, the settings that differ, results, how soon, classes
compare(a, b)      make one; differences are the second run's minus the first's
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ptools_plugins.runs.reading import FINISHED, Found

_MEASURES = ("val_accuracy", "val_loss", "test_accuracy", "test_loss", "seconds")
_FOLLOWS = (
    "mean",
    "std",
    "blueprint.model",
    "blueprint.dropout",
    "finetune.head",
    "finetune.tail",
    "finetune.flat",
    "fingerprints.train",
    "fingerprints.val",
    "fingerprints.test",
)  # from other settings
_TOLD = {
    "loaded": ("loaded.file", "loaded.share"),
    "frozen": ("frozen.trainable",),
}  # of long tables


@dataclass(frozen=True)
class Comparison:
    """Two runs; every pair is (of the first, of the second), None where it is not known.

    settings    those that differ, tables as `images.train`
    measures    name -> values; difference -> second minus first, None where it says nothing
    target      the lower of both best validation accuracies; reached: by epoch, after seconds
    classes     class -> accuracies, the largest difference first
    doubts      why the figures are not of the same thing, a line each
    """

    runs: tuple[Found, Found]
    settings: dict[str, tuple[Any, Any]]
    measures: dict[str, tuple[float | None, float | None]]
    target: float | None
    reached: tuple[tuple[int, float], tuple[int, float]] | None
    classes: dict[str, tuple[float, float]]
    doubts: list[str]

    def difference(self, name: str) -> float | None:
        a, b = self.measures[name]
        other_loss = name.endswith("_loss") and "loss" in self.settings
        return None if a is None or b is None or other_loss else b - a

    def document(self) -> dict[str, Any]:
        """Return it for JSON: pairs are lists of two."""
        return {
            "runs": [run.document() for run in self.runs],
            "settings": self.settings,
            "results": {
                name: {"values": values, "difference": self.difference(name)}
                for name, values in self.measures.items()
            },
            "reached": self.reached
            and {
                "val_accuracy": self.target,
                "epochs": [epoch for epoch, _ in self.reached],
                "seconds": [seconds for _, seconds in self.reached],
            },
            "per_class": [
                {"class": name, "accuracy": pair, "difference": pair[1] - pair[0]}
                for name, pair in self.classes.items()
            ],
            "doubts": self.doubts,
        }


def compare(a: Found, b: Found) -> Comparison:
    """Compare two runs."""
    target = _target(a, b)
    return Comparison(
        runs=(a, b),
        settings=_settings(_flat(a.settings), _flat(b.settings)),
        measures={name: (getattr(a, name), getattr(b, name)) for name in _MEASURES},
        target=target,
        reached=None if target is None else (_reach(a, target), _reach(b, target)),
        classes=_classes(a, b),
        doubts=_doubts(a, b),
    )


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[before + name] = value
    return found


def _settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [name for name in {**a, **b} if name not in _FOLLOWS]
    names = [name for name in names if name in _TOLD.get(name.partition(".")[0], (name,))]
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def _target(a: Found, b: Found) -> float | None:
    """Return the best validation accuracy of the worse run: what both have reached."""
    measured = [
        [e["val_accuracy"] for e in run.history if e["val_accuracy"] is not None] for run in (a, b)
    ]
    return min(map(max, measured)) if all(measured) else None


def _reach(run: Found, target: float) -> tuple[int, float]:
    """Return the first epoch that is as accurate as `target`, and the seconds to its end."""
    spent = 0.0
    for epoch in run.history:
        spent += epoch["seconds"]
        if epoch["val_accuracy"] is not None and epoch["val_accuracy"] >= target:
            break
    return epoch["epoch"], spent


def _classes(a: Found, b: Found) -> dict[str, tuple[float, float]]:
    """Return the accuracies of the classes that differ, where both are of the same kind of images."""
    if a.measured_on != b.measured_on:
        return {}
    one, two = (
        {row["class"]: row["accuracy"] for row in run.per_class if row["accuracy"] is not None}
        for run in (a, b)
    )
    pairs = {name: (one[name], two[name]) for name in one if name in two and one[name] != two[name]}
    return dict(sorted(pairs.items(), key=lambda item: -abs(item[1][1] - item[1][0])))


def _doubts(a: Found, b: Found) -> list[str]:
    one, two = a.settings, b.settings
    found = []
    if a.data != b.data:
        found.append("The data are others: the accuracies are not of the same images.")
    elif one.get("seed") != two.get("seed") and ("/" in a.data or "\\" in a.data):
        found.append("The seed splits a folder: each run was measured on images of its own.")
    else:
        counts = [run.get("images", {}) for run in (one, two)]
        parts = [part for part in ("val", "test") if counts[0].get(part) != counts[1].get(part)]
        if parts:
            found.append(
                f"The {' and '.join(parts)} images are others, and the accuracies on them."
            )
    if one.get("loss") != two.get("loss"):
        found.append("The losses are of different kinds: they have no difference.")
    for run in (a, b):
        if run.state != FINISHED:
            found.append(f"{run.run} is not finished: its figures are those of the epochs so far.")
    return found
