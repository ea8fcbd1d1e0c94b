"""Freezing what was loaded: a manifest beside the weights, and a model that keeps to it.

Manifest                  the parameters to freeze, the normalisation layers to keep in eval mode
read_manifest(path)       the one that `ptools partial-load --freeze` wrote
apply_freeze(model, ...)  requires_grad off; the layers stay in eval mode whatever train() says
trainable(model)          the parameters for the optimizer
covers(pattern, key)      whether a pattern of --freeze, --only or --skip means a tensor
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools.errors import FileError, UsageError, cause, suggestion
from ptools.files import failed

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Manifest", "apply_freeze", "covers", "read_manifest", "trainable"]

FORMAT = "ptools freeze 1"
_WRAPPERS = ("", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.")


@dataclass(frozen=True)
class Manifest:
    """What to freeze in a model.

    parameters   names as in state_dict(); a name that turns out to be a buffer is left alone
    eval         modules (BatchNorm and its like) whose running statistics must not move
    counts       figures for people: tensors, parameters (elements), eval
    weights      the file it was written for
    """

    parameters: list[str]
    eval: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    weights: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as it is written."""
        return {"format": FORMAT, **asdict(self)}


def read_manifest(path: Path) -> Manifest:
    """Read a freeze manifest. Raises FileError where it is none."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise failed("read", path, error) from error
    except ValueError as error:
        raise FileError(f"{path} is no freeze manifest ({cause(error)[:80]}).") from error
    return _manifest(found, str(path))


def _manifest(found: Any, where: str) -> Manifest:
    names = [found.get(key, []) for key in ("parameters", "eval")] if _is_one(found) else None
    if names is None or not all(isinstance(n, list) for n in names):
        raise FileError(
            f"{where} is no freeze manifest; ptools partial-load --freeze loaded writes one."
        )
    if not all(isinstance(name, str) for part in names for name in part):
        raise FileError(f"{where}: 'parameters' and 'eval' are lists of names.")
    counts = found.get("counts")
    counts = counts if isinstance(counts, dict) else {}
    return Manifest(names[0], names[1], counts, found.get("weights"))


def _is_one(found: Any) -> bool:
    return isinstance(found, Mapping) and found.get("format") == FORMAT and "parameters" in found


def apply_freeze(model: nn.Module, manifest: Manifest | Mapping[str, Any] | Path | str) -> Manifest:
    """Freeze in `model` what the manifest says, and return what was frozen, in the model's names.

    The parameters get requires_grad=False. The modules under `eval` go into eval mode and stay there:
    model.train() leaves them alone, in copies and after pickling too. Raises UsageError where the
    model has no such parameter or module; then nothing is changed.
    """
    found = _given(manifest)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    modules = dict(model.named_modules(remove_duplicate=False))
    prefix = _prefix(found, parameters)
    names = [prefix + name for name in found.parameters]
    _known(names, {**parameters, **dict.fromkeys(buffers)}, "parameter")
    stay = [_module(prefix, name) for name in found.eval]
    _known(stay, modules, "module")
    frozen = [name for name in names if name in parameters]
    for name in frozen:
        parameters[name].requires_grad_(False)
        parameters[name].grad = None
    for name in stay:
        _keep_in_eval(modules[name])
    elements = sum(
        p.numel() for p in {id(p): p for p in map(parameters.get, frozen) if p is not None}.values()
    )
    counts = {"tensors": len(frozen), "parameters": elements, "eval": len(stay)}
    return Manifest(frozen, stay, counts, found.weights)


def _given(manifest: Manifest | Mapping[str, Any] | Path | str) -> Manifest:
    if isinstance(manifest, Manifest):
        return manifest
    if isinstance(manifest, Mapping):
        return _manifest(manifest, "the mapping")
    return read_manifest(Path(manifest))


def _prefix(found: Manifest, known: Mapping[str, Any]) -> str:
    """Return what DataParallel or torch.compile put before the names."""
    first = next(iter(found.parameters), "")
    return next((wrap for wrap in _WRAPPERS if wrap + first in known), "")


def _module(prefix: str, name: str) -> str:
    return prefix + name if name else prefix.rstrip(".")


def _known(names: list[str], known: Mapping[str, Any], kind: str) -> None:
    for name in names:
        if name not in known:
            raise UsageError(
                f"the model has no {kind} '{name}', which the freeze manifest names."
                f"{suggestion(name, list(known)) or ' It was written for another model.'}"
            )


class _Eval:
    """The train() of a module that stays in eval mode: an attribute of the module, not of its class.

    It is a plain object so that deepcopy and pickle take it along and point it at the copied module,
    which a closure or a bound method would not do.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, mode: bool = True) -> nn.Module:
        return type(self.module).train(self.module, False)


def _keep_in_eval(module: nn.Module) -> None:
    # object.__setattr__: the module must not become a child of itself by way of its own train()
    object.__setattr__(module, "train", _Eval(module))
    module.train()


def trainable(model: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters that are not frozen, each once: what the optimizer gets."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def covers(pattern: str, key: str) -> bool:
    """Return whether a pattern means a key: by itself, as one of its modules, or by wildcards."""
    if key == pattern or key.startswith(pattern.rstrip(".") + "."):
        return True
    parts = key.split(".")
    modules = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return any(fnmatchcase(module, pattern.rstrip(".")) for module in modules)
