"""read(path): the tensors of any checkpoint, as a Weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ptools.checkpoints.archives import Loaded, read_pickle, read_zip
from ptools.checkpoints.choosing import (
    Candidate,
    candidates,
    entries,
    is_tensor,
    mappings,
    preferred,
)
from ptools.checkpoints.formats import recognise
from ptools.checkpoints.made import Made
from ptools.checkpoints.stored import Damaged, Stored, Tensors
from ptools.checkpoints.tensorfiles import find_index, read_index, read_safetensors
from ptools.checkpoints.weights import Weights
from ptools.errors import FileError, UsageError, cause, one_line, suggestion
from ptools.files import failed

_HELPERS = {
    "dtype",
    "encode",
    "device",
    "",
    "tuple",
}  # parts of other extras, nothing by themselves


def read(path: str | Path, *, key: str | None = None, trust: bool = False) -> Weights:
    """Return the tensors of a checkpoint without running anything in it.

    `key` names the state_dict ("model.ema") where the file holds several; without it the choice is
    as `ptools.checkpoints.choosing` describes. `trust` allows what runs code of the file: whole
    pickled modules and tar files; all else is read inertly with it, too.

    Raises FileError where the file cannot be read or holds no state_dict, UsageError on a wrong `key`.
    """
    path = Path(path)
    try:
        if path.is_dir():
            path = find_index(path)
        return _read(path, recognise(path), key, trust)
    except Damaged as error:
        text = one_line(error, 200)
        raise FileError(f"{path} is damaged: {text}; download or save it again.") from error
    except OSError as error:
        raise failed("read", path, error) from error


def _read(path: Path, kind: str, key: str | None, trust: bool) -> Weights:
    if kind == "json":
        return _sharded(path, key)
    if kind == "safetensors":
        _no_key(path, key)
        tensors, metadata, others = read_safetensors(path)
        return Weights(
            path, "safetensors", Tensors(tensors), extras=others, metadata=dict(metadata)
        )
    if kind == "tar":
        return _trusted(path, key, trust, "is a tar archive, maybe one of torch 0.1")
    loaded = read_zip(path) if kind == "zip" else read_pickle(path)
    return _chosen(path, loaded, key, trust)


def _chosen(path: Path, loaded: Loaded, key: str | None, trust: bool) -> Weights:
    """Return the state_dict of a loaded object as Weights."""
    found = candidates(loaded.tree)
    if key is not None:
        chosen = _named(path, loaded.tree, found, key)
    elif found:
        chosen = preferred(found)
    elif _holds_module(loaded.tree):
        return _trusted(path, key, trust, "is a whole pickled module")
    else:
        raise FileError(_nothing(path, loaded.tree))
    tensors = {str(k): v for k, v in chosen.value.items() if isinstance(k, str) and is_tensor(v)}
    lazy: Mapping[str, Any] = tensors
    if all(isinstance(value, Stored) for value in tensors.values()):
        lazy = Tensors(tensors)
    return Weights(
        path=path,
        format=loaded.format,
        tensors=lazy,
        where=chosen.where,
        keys=chosen.keys,
        seen={other.where: other.tensors for other in found if other.keys != chosen.keys},
        extras=_extras(loaded.tree, chosen),
        metadata=_metadata(loaded.tree, chosen),
        tree=loaded.tree if loaded.format != "TorchScript archive" else None,
    )


def _named(path: Path, tree: Any, found: list[Candidate], key: str) -> Candidate:
    """Return the mapping with tensors at a dotted key. Raises UsageError with what there is."""
    for mapping in mappings(tree):
        if mapping.where == key:
            return mapping
    known = [candidate.where for candidate in found]
    listed = ", ".join(f"'{c.where}' ({c.tensors} tensors)" for c in found[:8]) or "none"
    raise UsageError(
        one_line(
            f"{path} has no state_dict at '{key}'; it has: {listed}.{suggestion(key, known)}", 500
        )
    )


def _no_key(path: Path, key: str | None) -> None:
    if key:
        raise UsageError(
            f"{path} has no state_dict at '{key}': it holds tensors only; leave the key out."
        )


def _holds_module(tree: Any) -> bool:
    """Return whether an object is a module, or has one in a mapping at its top."""
    values = [tree, *(entries(tree) or {}).values()]
    return any(isinstance(value, Made) and value.module for value in values)


def _nothing(path: Path, tree: Any) -> str:
    """Return the message for a file without a state_dict: what it holds instead."""
    found = entries(tree)
    if found is None:
        what = tree.of.short if isinstance(tree, Made) else type(tree).__name__
        if is_tensor(tree):
            what = "single tensor"
        return one_line(
            f"{path} holds no state_dict, but a {what}; save model.state_dict() instead."
        )
    names = ", ".join(map(str, list(found)[:12])) or "nothing"
    if not found:
        return f"{path} holds an empty dict, no state_dict; save model.state_dict() again."
    return one_line(f"{path} holds no state_dict; at its top are: {names}.", 500)


def _trusted(path: Path, key: str | None, trust: bool, what: str) -> Weights:
    """Read with torch's own unpickler, which runs what the file says. Raises FileError unless `trust`."""
    if not trust:
        raise FileError(
            f"{path} {what}; reading it would run code of the file: add --trust if you trust it."
        )
    import warnings

    import torch

    try:
        with warnings.catch_warnings(action="ignore"):
            tree = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # the code of the file may raise anything
        raise FileError(
            f"{path} cannot be unpickled ({cause(error)[:200]}); run this where its classes can be imported."
        ) from error
    tree = _with_state_dicts(tree)
    if not candidates(tree):
        raise FileError(_nothing(path, tree))
    weights = _chosen(path, Loaded(tree, "pickled module"), key, trust=False)
    return replace(weights, tree=None)


def _with_state_dicts(tree: Any) -> Any:
    """Return the object with the state_dict of each module in the place of the module."""
    from torch import nn

    if isinstance(tree, nn.Module):
        return tree.state_dict()
    if isinstance(tree, dict):
        return {
            name: value.state_dict() if isinstance(value, nn.Module) else value
            for name, value in tree.items()
        }
    return tree


def _sharded(path: Path, key: str | None) -> Weights:
    """Return the tensors of all files an index names, each file in its own order."""
    _no_key(path, key)
    files = read_index(path)
    tensors: dict[str, Any] = {}
    extras: list[str] = []
    metadata: dict[str, Any] = {}
    for shard in sorted(set(files.values())):
        weights = _shard(shard)
        extras += [extra for extra in weights.extras if extra not in extras]
        metadata |= weights.metadata
        stored = weights.tensors.stored if isinstance(weights.tensors, Tensors) else {}
        for name in (name for name, file in files.items() if file == shard):
            if name not in stored:
                raise FileError(
                    f"{path} says that {shard.name} holds {one_line(name)!r}, but it does not; "
                    "download both again from one place."
                )
        tensors |= {name: value for name, value in stored.items() if files.get(name) == shard}
    number = len(set(files.values()))
    return Weights(
        path,
        f"sharded, {number} {'file' if number == 1 else 'files'}",
        Tensors(tensors),
        extras=extras,
        metadata=metadata,
    )


def _shard(path: Path) -> Weights:
    kind = recognise(path)
    if kind == "json":
        raise FileError(f"{path} is an index within an index; download the weights themselves.")
    try:
        return _read(path, kind, None, False)
    except Damaged as error:
        text = one_line(error, 200)
        raise FileError(f"{path} is damaged: {text}; download it again.") from error


def _extras(tree: Any, chosen: Candidate) -> list[str]:
    """Return what is no plain value: classes in the order met, then odd entries of the state_dict."""
    names: dict[str, None] = {}
    for value in _values(tree):
        if isinstance(value, Made) and value.of.short not in _HELPERS:
            names[value.of.short] = None
    odd = [
        one_line(
            f"{name} ({value.of.short if isinstance(value, Made) else type(value).__name__})", 120
        )
        for name, value in chosen.value.items()
        if not (isinstance(name, str) and is_tensor(value))
    ]
    return [one_line(name, 80) for name in names] + odd


def _values(tree: Any, limit: int = 200_000) -> Iterator[Any]:
    """Yield an object and what is in it, each once, without recursion; of modules only themselves."""
    waiting: list[Any] = [tree]
    met: set[int] = set()
    while waiting and len(met) < limit:
        value = waiting.pop()
        if id(value) in met:
            continue
        met.add(id(value))
        yield value
        if isinstance(value, Made):
            waiting += [*value.items.values()]
        elif isinstance(value, dict):
            waiting += reversed(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting += value


def _metadata(tree: Any, chosen: Candidate) -> dict[str, Any]:
    """Return the small plain values of the mappings around the state_dict, by dotted key."""
    found: dict[str, Any] = {}
    value, prefix = tree, ""
    for name in chosen.keys:
        around = entries(value) or {}
        found |= {f"{prefix}{k}": v for k, v in around.items() if isinstance(k, str) and _small(v)}
        value, prefix = around.get(name), f"{prefix}{name}."
    return found


def _small(value: Any) -> bool:
    """Whether a value is a number, a text, or a short list or dict of them."""
    plain = (str, int, float)
    if isinstance(value, str):
        return len(value) <= 10_000
    if isinstance(value, dict):
        pairs = value.items()
        return 0 < len(value) <= 10_000 and all(
            isinstance(p, plain) for pair in pairs for p in pair
        )
    if isinstance(value, (list, tuple)):
        return len(value) <= 10_000 and all(isinstance(item, plain) for item in value)
    return isinstance(value, plain)
