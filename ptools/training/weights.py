"""Somebody's weights into a model of ours, and what came of it.

load_into(model, path)   fill the model from a checkpoint; a Loaded says what was
Loaded                   which tensors were loaded, from which, which stay new

Where names and shapes agree nothing is asked. Otherwise `ptools.matching` decides: what it is certain
of is loaded, what is likely only when it is accepted, what is ambiguous never.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools import checkpoints
from ptools.errors import FileError, PtoolsError
from ptools.matching import Rule, Transform, match

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ptools.checkpoints import Weights

__all__ = ["Loaded", "load_into"]

Shapes = Mapping[str, tuple[int, ...]]
_COUNTER = "num_batches_tracked"  # files from before torch 0.4.1 have none; it changes nothing
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Loaded:
    """What of a file came into a model. Names are the model's, in its order.

    path, key    the file, and the state_dict in it ("" where the file is one)
    names        the tensors that were loaded
    new          the tensors that stay as the model initialised them
    parameters   how many numbers the model has to learn; `filled`: how many of them were loaded
    moves        {name: (op, sources)} of those not loaded from the same name by a plain copy
    rules        the renaming that was found
    likely       not loaded, as nobody accepted them; ambiguous: nor these, for several would fit
    offers       {name: op}: new, but would fit after a step that loses or invents values
    """

    path: str
    key: str
    names: list[str]
    new: list[str]
    parameters: int
    filled: int
    moves: dict[str, Transform] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    likely: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    offers: dict[str, str] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The loaded part of the parameters, 0..1."""
        return self.filled / self.parameters if self.parameters else 0.0

    def document(self) -> dict[str, Any]:
        """Return it for JSON: `changed` is {name: "source" or "op(source, ...)"}."""
        return {
            "file": self.path,
            "key": self.key,
            "tensors": len(self.names),
            "of": len(self.names) + len(self.new),
            "parameters": self.filled,
            "share": self.share,
            "new": self.new,
            "changed": {name: _text(move) for name, move in self.moves.items()},
            "likely": self.likely,
            "ambiguous": self.ambiguous,
        }


@dataclass
class _Plan:
    """What goes where: {target name: how it is made}, and what is left."""

    moves: dict[str, Transform]
    likely: dict[str, Transform] = field(default_factory=dict)
    ambiguous: list[str] = field(default_factory=list)
    offers: dict[str, str] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    different: str = ""  # why these are two different networks


def load_into(
    model: nn.Module,
    path: Path,
    *,
    key: str | None = None,
    accept_likely: bool = False,
    leave: Collection[str] = (),
) -> Loaded:
    """Fill `model` from a checkpoint; nothing in it is run. The dtypes stay the model's.

    `key` names the state_dict in a file of several. What lies in the modules `leave` stays new, whatever
    the file has for it. The model's lazy layers must have run once.
    Raises FileError where the file cannot be read, UsageError on a wrong `key`, PtoolsError where it
    is of another network or holds what cannot be trained; then the model is as it was.
    """
    import torch

    weights = _read(path, key)
    state: Any = model.state_dict()
    target = {name: value for name, value in state.items() if torch.is_tensor(value)}
    shapes = {name: tuple(value.shape) for name, value in target.items()}
    apart = {name for name in shapes if any(name.startswith(f"{module}.") for module in leave)}
    wanted = {name: shape for name, shape in shapes.items() if name not in apart}
    plan = _decide(weights.shapes, wanted, accept_likely=accept_likely)
    made: OrderedDict[str, Tensor] = OrderedDict()
    for name in target:
        if name in plan.moves:
            made[name] = _make(plan.moves[name], weights, target[name])
    twins = _twins(model)
    _whole(weights.path, made, twins)
    loaded = _report(weights, plan, list(target), model, twins)
    _refuse(weights.path, plan, loaded)
    _agree(weights.path, made, twins)
    made._metadata = state._metadata  # type: ignore[attr-defined]  # of today's version: no layer converts it
    model.load_state_dict(made, strict=False)
    return loaded


def _read(path: Path, key: str | None) -> Weights:
    try:
        return checkpoints.read(path, key=key)
    except FileError as error:
        says, offered, _ = str(error).partition(": add --trust")
        if not offered:
            raise
        way = f"ptools partial-load {path} start.pth --model ... --trust"
        raise FileError(f"{says}; if you trust it, '{way}' makes a plain file of it.") from error


def _decide(source: Shapes, target: Shapes, *, accept_likely: bool) -> _Plan:
    """Return what goes where: by the same names where all agree, else as the match has it."""
    wanted = [name for name in target if name in source or not name.endswith(_COUNTER)]
    other = [name for name in wanted if source.get(name) != target[name]]
    if wanted and (not other or _is_a_head(other, source, target)):
        return _Plan({n: Transform("copy", (n,)) for n in wanted if source[n] == target[n]})
    found = match(source, target)
    if found.verdict == "different":
        why = next(iter(found.unmatched.values()), "nothing fits")
        return _Plan({}, offers={k: t.op for k, t in found.offers.items()}, different=why)
    every = {name: Transform("copy", (old,)) for name, old in found.mapping.items()}
    every |= found.transforms
    sure = {name for name in every if found.confidence.get(name) == "certain"}
    taken = set(every) if accept_likely else sure
    return _Plan(
        {name: every[name] for name in target if name in taken},
        {name: every[name] for name in target if name in every and name not in taken},
        [name for name in target if name in found.ambiguous],
        {name: found.offers[name].op for name in target if name in found.offers},
        [rule for rule in found.rules if rule.source != rule.target],
    )


def _is_a_head(names: list[str], source: Shapes, target: Shapes) -> bool:
    """Tell whether all that differs is how many outputs one layer has: it was made for other classes.

    A layer within would take the inputs of the next one with it.
    """
    modules = {name.rpartition(".")[0] for name in names}
    return len(modules) == 1 and all(
        name in source and target[name] and source[name][1:] == target[name][1:] for name in names
    )


def _make(move: Transform, weights: Weights, target: Tensor) -> Tensor:
    """Return one tensor of the model out of those of the file, with the model's shape and dtype."""
    from ptools.matching.apply import apply

    made = apply(move.op, [weights.tensors[old] for old in move.sources], tuple(target.shape))
    if target.is_floating_point() and not made.is_floating_point():
        kind = str(made.dtype).removeprefix("torch.")
        raise PtoolsError(
            f"{weights.path}: {_text(move)} is {kind}, maybe quantised; take the file of the floats."
        )
    return made.to(target.dtype)


def _whole(path: Path, made: Mapping[str, Tensor], twins: list[list[str]]) -> None:
    """Raise PtoolsError where what was learned is not finite; a mask may well be."""
    learned = {name for names in twins for name in names}
    for name, tensor in made.items():
        if (name in learned or name.endswith(_STATISTICS)) and not bool(tensor.isfinite().all()):
            raise PtoolsError(f"{path}: {name} holds nan or inf; take an earlier checkpoint.")


def _twins(model: nn.Module) -> list[list[str]]:
    """Return the names of each parameter; those that are tied have several."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return list(names.values())


def _report(
    weights: Weights, plan: _Plan, target: list[str], model: nn.Module, twins: list[list[str]]
) -> Loaded:
    filled = [names for names in twins if any(name in plan.moves for name in names)]
    names = {*plan.moves, *(name for twin in filled for name in twin)}
    counters = {t for t in target if t.endswith(_COUNTER) and _beside(t) <= names}
    sizes = {name: p.numel() for name, p in model.named_parameters(remove_duplicate=False)}
    return Loaded(
        path=str(weights.path),
        key=weights.where,
        names=[name for name in target if name in names],
        new=[name for name in target if name not in names | counters],
        parameters=sum(sizes[twin[0]] for twin in twins),
        filled=sum(sizes[twin[0]] for twin in filled),
        moves={t: m for t, m in plan.moves.items() if m != Transform("copy", (t,))},
        rules=plan.rules,
        likely=list(plan.likely),
        ambiguous=plan.ambiguous,
        offers=plan.offers,
    )


def _beside(counter: str) -> set[str]:
    """Return what must be loaded for a missing counter to be of no interest."""
    return {counter.removesuffix(_COUNTER) + "running_mean"}


def _refuse(path: Path, plan: _Plan, loaded: Loaded) -> None:
    """Raise PtoolsError where nothing that was learned would be loaded."""
    if loaded.filled:
        return
    look = f"ptools partial-load {path} --model ... --dry-run"
    if plan.different:
        way = f"'{look}' shows the report"
        if "bias" in plan.offers.values():
            way = f"'ptools partial-load {path} --model ... --adapt bias' makes a file that fits"
        raise PtoolsError(
            f"{path} and the model are different architectures ({plan.different}); {way}."
        )
    if plan.likely:
        raise PtoolsError(
            f"nothing in {path} is certain to fit, {len(plan.likely)} tensors are likely to: add "
            f"--accept likely; '{look}' shows them."
        )
    raise PtoolsError(f"nothing in {path} surely fits the model: '{look}' shows the report.")


def _agree(path: Path, made: Mapping[str, Tensor], twins: list[list[str]]) -> None:
    """Raise PtoolsError where the names of one tensor would get different values."""
    for names in twins:
        first, *others = [name for name in names if name in made] or [""]
        for name in others:
            if not made[name].equal(made[first]):
                raise PtoolsError(
                    f"{first} and {name} are one tensor in the model, but two different ones in "
                    f"{path}; untie them in the model."
                )


def _text(move: Transform) -> str:
    return move.sources[0] if move.op == "copy" else f"{move.op}({', '.join(move.sources)})"
