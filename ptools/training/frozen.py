"""What of a model does not move: by a freeze manifest, by patterns of names, or all but its last layer.

freeze(model, ...)   requires_grad off, frozen modules in eval mode; a Frozen says what was
thaw(model, frozen)  all of it moves again
Frozen               what was frozen, what is left to train, what to be wary of

What is frozen is in eval mode as a whole: BatchNorm's statistics stay, and so does its Dropout off.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ptools.checkpoints.freezing import Manifest, apply_freeze, covers, trainable
from ptools.errors import UsageError, suggestion

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BACKBONE", "NONE", "Frozen", "freeze", "thaw"]

BACKBONE, NONE = "backbone", "none"  # words among the patterns
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Frozen:
    """What was frozen: names of parameters, and of the modules that stay in eval mode with all in them.

    parameters   how many numbers are frozen; trainable: how many are left
    warnings     what is probably not meant, a line each
    """

    names: list[str] = field(default_factory=list)
    eval: list[str] = field(default_factory=list)
    parameters: int = 0
    trainable: int = 0
    warnings: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "tensors": len(self.names),
            "parameters": self.parameters,
            "trainable": self.trainable,
            "names": self.names,
            "eval": self.eval,
        }


def freeze(
    model: nn.Module,
    *,
    manifest: Manifest | None = None,
    patterns: Sequence[str] = (),
    tail: Sequence[str] = (),
    loaded: Collection[str] = (),
) -> Frozen:
    """Freeze what a manifest says, or the parameters and modules that `patterns` (fnmatch) name.

    The pattern `backbone` is all but the modules of `tail`. `loaded` are the tensors that are somebody's:
    a BatchNorm with loaded weights but without loaded statistics goes on measuring them. Raises
    UsageError where a name means nothing in this model, and where nothing is left to train.
    """
    warnings: list[str] = []
    if manifest is None:
        manifest = _by_patterns(model, patterns, tail, set(loaded), warnings)
    norms = _norms(model)
    moving = [norm for norm in norms if norm not in manifest.eval]
    rest = tail if BACKBONE in patterns else None
    whole = _still(model, "", set(manifest.parameters), moving, rest)
    stay = list(dict.fromkeys([*whole, *(n for n in manifest.eval if not _inside(n, whole))]))
    found = apply_freeze(model, Manifest(manifest.parameters, stay, {}, manifest.weights))
    left = sum(parameter.numel() for parameter in trainable(model))
    if not left:
        raise UsageError(
            "everything is frozen, nothing is left to train; freeze less, the head must move."
        )
    strange = sorted({name.rpartition(".")[0] or name for name in {*found.parameters} - {*loaded}})
    if strange:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        warnings.append(
            f"{', '.join(strange[:3])}{more}: frozen, though not loaded: "
            "they stay as they were initialised."
        )
    return Frozen(found.parameters, found.eval, found.counts["parameters"], left, warnings)


def thaw(model: nn.Module, names: Collection[str], stay: Collection[str]) -> list[nn.Parameter]:
    """Let frozen parameters and modules move again; return these parameters."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in stay:
        modules[name].__dict__.pop("train", None)  # what apply_freeze put there
        modules[name].train(model.training)
    known = dict(model.named_parameters(remove_duplicate=False))
    thawed = list({id(known[name]): known[name] for name in names}.values())
    for parameter in thawed:
        parameter.requires_grad_(True)
    return thawed


def _still(
    module: nn.Module,
    name: str,
    frozen: set[str],
    moving: Sequence[str],
    tail: Sequence[str] | None,
) -> list[str]:
    """Return the largest modules of which nothing moves: no parameter, no statistics of `moving`.

    What has no parameters is still where `tail` is given and it is no part of that.
    """
    own = [key for key, _ in module.named_parameters(name, remove_duplicate=False)]
    busy = any(_inside(norm, [name]) for norm in moving)
    ends = any(_inside(part, [name]) for part in tail or ())
    if name and not busy and not ends and (frozen.issuperset(own) if own else tail is not None):
        return [name] if not _inside(name, tail or ()) else []
    if not own:
        return []
    parts = ((f"{name}.{key}" if name else key, child) for key, child in module.named_children())
    return [one for key, child in parts for one in _still(child, key, frozen, moving, tail)]


def _inside(name: str, modules: Collection[str]) -> bool:
    """Return whether a module is one of `modules` or lies in one."""
    return any(name == module or not module or name.startswith(f"{module}.") for module in modules)


def _by_patterns(
    model: nn.Module,
    patterns: Sequence[str],
    tail: Sequence[str],
    loaded: set[str],
    warnings: list[str],
) -> Manifest:
    """Return what the patterns mean. A BatchNorm stays in eval mode where all of it is frozen."""
    parameters = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    norms = _norms(model)
    keys = [*parameters, *(key for statistics in norms.values() for key in statistics)]
    for pattern in patterns:
        if pattern != BACKBONE and not any(covers(pattern, key) for key in keys):
            close = suggestion(pattern, sorted({name for key in keys for name in _names(key)}))
            raise UsageError(
                f"--freeze '{pattern}' is no parameter or module of the model.{close}"
                f"{'' if close else f' Its first is {keys[0]}.'}"
            )
    named = [pattern for pattern in patterns if pattern != BACKBONE]
    chosen = {key for key in keys if any(covers(pattern, key) for pattern in named)}
    if BACKBONE in patterns:
        chosen |= {key for key in keys if not _inside(key, tail)}
    stay = []
    for norm, statistics in norms.items():
        affine = [name for name in parameters if name.rpartition(".")[0] == norm]
        if not chosen.issuperset(affine or statistics):
            continue
        if loaded.intersection(affine) and not loaded.issuperset(statistics):
            warnings.append(
                f"{norm}: its weight is frozen, but its statistics were not loaded; "
                "it is left in train mode to find them."
            )
        else:
            stay.append(norm)
    return Manifest([name for name in parameters if name in chosen], stay)


def _norms(model: nn.Module) -> dict[str, list[str]]:
    """Return the modules with running statistics, BatchNorm and its like, and the names of these."""
    found: dict[str, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if getattr(module, _STATISTICS[0], None) is not None:
            found[name] = [f"{name}.{leaf}" if name else leaf for leaf in _STATISTICS]
    return found


def _names(key: str) -> list[str]:
    """Return `a`, `a.b` and `a.b.weight` for the last."""
    parts = key.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
