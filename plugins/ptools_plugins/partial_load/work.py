"""The work: read both sides, decide, write. What comes of it is an `Outcome`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools import output
from ptools.errors import UsageError
from ptools_plugins.partial_load import adapting, freeze, mapfile, places, plan
from ptools_plugins.partial_load.loading import Conversion, Loaded, Source, conversions

if TYPE_CHECKING:
    from ptools.checkpoints.freezing import Manifest
    from ptools.tracing.inputs import Input
    from ptools_plugins.partial_load.target import Target
    from ptools_plugins.partial_load.verify import Verified


@dataclass(frozen=True)
class Request:
    """What was asked; the options of the command line, parsed."""

    old: Path
    new: Path | None = None
    out: Path | None = None
    model: str | None = None
    old_model: str | None = None
    inputs: tuple[Input, ...] = ()
    source_key: str | None = None
    trust: bool = False
    wish: plan.Wish = field(default_factory=plan.Wish)
    map_file: Path | None = None
    save_map: Path | None = None
    classes: tuple[Path, ...] = ()
    freeze: tuple[str, ...] = ()
    verify: bool = False
    keep_source: bool = False  # --dtype source
    in_place: bool = False
    writes: bool = True  # not with --dry-run, --explain, --emit-python
    force: bool = False
    seed: int = 0


@dataclass
class Outcome:
    """What was decided, and what was done about it."""

    source: Source
    target: Target
    plan: plan.Plan
    loaded: Loaded
    out: Path | None
    conversions: list[Conversion] = field(default_factory=list)
    manifest: Manifest | None = None
    warnings: list[str] = field(default_factory=list)
    refused: str | None = None
    written: list[Path] = field(default_factory=list)
    verified: Verified | None = None

    @property
    def open(self) -> int:
        """Return how many tensors wait for a word: likely ones, and ambiguous ones."""
        return len(self.plan.likely) + len(self.plan.ambiguous)

    @property
    def counters(self) -> list[str]:
        """Return the num_batches_tracked of loaded BatchNorms that OLD, from before torch 0.4.1, has not."""
        loaded = {key.rpartition(".")[0] for key in self.plan.items}
        parts = ((key, key.rpartition(".")) for key in self.plan.unmatched)
        return [
            key for key, (module, _, leaf) in parts if leaf == plan.COUNTER and module in loaded
        ]

    def counts(self) -> dict[str, Any]:
        """Return the figures of the last line; counters that OLD cannot have do not count."""
        target, items = self.target, self.plan.items
        parameters = sum(target.elements(key) for key in target.parameters)
        loaded = sum(target.elements(key) for key in target.parameters if key in items)
        return {
            "matched": len(items),
            "tensors": len(target.shapes) - len(self.counters),
            "counters": len(self.counters),
            "parameters": parameters,
            "parameters_matched": loaded,
            "share": loaded / parameters if parameters else 1.0,
            "likely": len(self.plan.likely),
            "ambiguous": len(self.plan.ambiguous),
        }


def decide(request: Request) -> Outcome:
    """Read both sides and decide what goes where; nothing is written.

    Raises UsageError where the command line contradicts itself or the files, FileError where a file
    cannot be read.
    """
    from ptools import checkpoints
    from ptools_plugins.partial_load import target as targets

    out = places.destination(request)
    wish = request.wish
    if request.map_file:
        wish = replace(wish, saved=mapfile.read(request.map_file))
    weights = checkpoints.read(request.old, key=request.source_key, trust=request.trust)
    source = Source(weights, weights.shapes, weights.dtype_names)
    if request.model:
        target = targets.from_model(request.model, seed=request.seed)
    else:
        assert request.new is not None
        target = targets.from_file(request.new, trust=request.trust)
        _writable(request, target)
    found = plan.make(source.shapes, target.shapes, wish)
    classes = adapting.read_classes(
        request.classes, weights.metadata, target.weights.metadata if target.weights else {}
    )
    adapting.adapt(found, source.shapes, target.shapes, wish.adapt, classes)
    _tie(found, target)
    loaded = Loaded(found.items, source, target, keep_source=request.keep_source)
    outcome = Outcome(source, target, found, loaded, out, conversions(loaded))
    outcome.refused = _refusal(outcome, request)
    if request.freeze and not outcome.refused:
        name = out.name if out else ""
        frozen = freeze.manifest(target, found.items, request.freeze, name)
        outcome.manifest, outcome.warnings = frozen
    if lost := adapting.lost_biases(found, source.shapes):
        outcome.warnings.append(
            f"{len(lost)} biases of OLD have no place ({lost[0]} ...): what their layers give is "
            "shifted until the normalization behind them, if any, is estimated anew."
        )
    outcome.warnings += [
        f"{key} and {first} are one tensor in {target.name}, but get two different ones of OLD."
        for key, first in loaded.torn()
    ]
    return outcome


def _writable(request: Request, target: Target) -> None:
    """A file that is no plain state_dict cannot be replaced by one in place."""
    kind = target.weights.format if target.weights else ""
    if request.in_place and kind.startswith(("sharded", "TorchScript", "pickled")):
        raise UsageError(f"--in-place does not write a {kind}; name a file with -o.")


def _tie(found: plan.Plan, target: Target) -> None:
    """Load both names of a tensor that the model has twice, or neither."""
    for key, first in target.tied.items():
        for one, other in ((key, first), (first, key)):
            if one in found.items and other not in found.items:
                item = found.items[one]
                found.add(replace(item, target=other, reason=f"tied to {one}"))


def _refusal(outcome: Outcome, request: Request) -> str | None:
    """Return why nothing may be written, in one line; None where something may."""
    found, counts = outcome.plan, outcome.counts()
    names = f"{request.old.name} and {outcome.target.name}"
    if found.items:
        return None
    if found.verdict == "different":
        if any(item.op == "bias" for item in found.offers.values()):
            return (
                f"the layers of {names} correspond, but of some only one side has a bias, and a "
                "layer is loaded whole or not at all: add --adapt bias to take their weights."
            )
        return (
            f"{names} are different architectures: no consistent match of their "
            f"{len(outcome.source.shapes)} and {counts['tensors']} tensors; "
            "say what belongs together with --map NEW=OLD or --hint."
        )
    if found.likely:
        return f"nothing is certain; {len(found.likely)} tensors are likely: add --accept likely."
    if found.ambiguous:
        key, candidates = next(iter(found.ambiguous.items()))
        return (
            f"nothing is certain; {len(found.ambiguous)} tensors have several candidates: "
            f"choose with --map '{key}={candidates[0]}' or --hint."
        )
    return (
        f"nothing in {request.old.name} matches {outcome.target.name}; try --hint or --map NEW=OLD."
    )


# -- writing -----------------------------------------------------------------------------------------


def write(request: Request, outcome: Outcome) -> None:
    """Write what was asked for: the weights, and the freeze manifest beside them."""
    import json

    from ptools import checkpoints, files

    out = outcome.out
    assert out is not None
    force = request.force or request.in_place
    with _progress(outcome.loaded.nbytes) as progress:
        dropped = checkpoints.write(
            outcome.loaded.makers(),
            out,
            like=outcome.target.weights,
            force=force,
            progress=progress,
        )
    outcome.written.append(out)
    if dropped:
        outcome.warnings.append(f"not kept in {out.name}: {', '.join(dropped)}")
    if outcome.manifest:
        path = places.manifest(out)
        text = json.dumps(outcome.manifest.document(), indent=1) + "\n"
        files.write(path, text, force=request.force)
        outcome.written.append(path)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int, int], object]]:
    """A bar over the bytes, on a terminal only; elsewhere rich is not even imported."""
    import sys
    from time import monotonic

    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn

    with output.progress(BarColumn(), DownloadColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=total)
        drawn = monotonic()

        def show(done: int, _: int) -> None:
            nonlocal drawn
            bar.update(task, completed=done)
            if monotonic() - drawn > 0.1:
                drawn = monotonic()
                bar.refresh()

        yield show


def verify(request: Request, outcome: Outcome) -> None:
    """Run both networks, and refuse to write where a loaded layer gives something else."""
    import torch

    from ptools import models
    from ptools_plugins.partial_load import verify as layers

    model, name = outcome.target.model, request.old_model
    assert model is not None
    assert name is not None
    with output.aside():  # the model may be anybody's code
        torch.manual_seed(request.seed)
        old = models.build(name)
    prefix = layers.fill(old, outcome.source, name)
    model.load_state_dict(dict(outcome.loaded))
    found = layers.verify(model, old, outcome.loaded, request.inputs, prefix)
    outcome.verified = found
    if found.different:
        outcome.refused = f"--verify: {found.different}. Nothing was written."
    elif not found.layers:
        outcome.refused = (
            "--verify: no loaded layer runs as a module of both networks; leave it out."
        )


def save_map(request: Request, outcome: Outcome) -> None:
    """Write the map, with --dry-run too, and where nothing is certain: it is there to be edited."""
    from ptools import files

    found = outcome.plan
    if request.save_map and (found.items or outcome.open):
        text = mapfile.content(outcome.plan, request.old.name, outcome.target.name)
        files.write(request.save_map, text, force=request.force)
        outcome.written.append(request.save_map)
