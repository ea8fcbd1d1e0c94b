"""Where a tensor belongs by its key: the module it is part of, and its role there.

families(state)      {path of a module: the names of its own tensors}
affine(state)        the places of scale and offset that go by names of their own
belongs(key, ...)    the path of the unit, and the role
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ptools.matching.result import Shape

# the words of torch.nn for the tensors of one module
_ROLES = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
# and the same by the words of others
_STATISTICS = {
    "moving_mean": "running_mean",
    "moving_var": "running_var",
    "moving_variance": "running_var",
    "stored_mean": "running_mean",
    "stored_var": "running_var",
}
# old and new ways of storing the same thing (torch.nn.utils, torch.nn.utils.parametrizations)
_STORED = [
    (re.compile(r"parametrizations\.(\w+)\.original0$"), r"\1_g"),
    (re.compile(r"parametrizations\.(\w+)\.original1$"), r"\1_v"),
    (re.compile(r"parametrizations\.(\w+)\.original$"), r"\1_orig"),
    (re.compile(r"parametrizations\.(\w+)\.0\._u$"), r"\1_u"),
    (re.compile(r"parametrizations\.(\w+)\.0\._v$"), r"\1_v"),
]
_PAIRS = [
    ("weight", "bias"),
    ("w", "b"),
    ("W", "b"),
    ("W", "bias"),
    ("w", "bias"),
    ("alpha", "beta"),
    ("gamma", "beta"),
    ("scale", "shift"),
]
_PAIRED = re.compile(
    r"(?:(?P<before>\w+)_)?(?P<role>weight|bias|W|w|b|alpha|beta|gamma|scale|shift)(?:_(?P<after>\w+))?"
)


def squeezed(shape: Shape) -> Shape:
    """Return `shape` without its sizes of 1: a 1x1 convolution and a Linear hold the same values."""
    return tuple(size for size in shape if size != 1)


def families(state: Mapping[str, Shape]) -> dict[str, set[str]]:
    """Return {path of a module: the names of its own tensors}."""
    families: dict[str, set[str]] = {}
    for key in state:
        path, _, leaf = _modern(key).rpartition(".")
        families.setdefault(path, set()).add(leaf)
    return families


def affine(state: Mapping[str, Shape]) -> dict[str, tuple[tuple[str, ...], str]]:
    """Return the places of scale and offset of normalisations that call them by names of their own.

    They are the only two tensors of a module without modules, vectors of one length; the first is the
    scale.
    """
    modules: dict[str, list[str]] = {}
    for key in state:
        modules.setdefault(key.rpartition(".")[0], []).append(key)
    inner = {path.rpartition(".")[0] for path in modules}
    found = {}
    for path, keys in modules.items():
        shapes = {tuple(state[key]) for key in keys}
        leaves = [key.rpartition(".")[2] for key in keys]
        vectors = len(keys) == 2 and len(shapes) == 1 and len(squeezed(next(iter(shapes)))) == 1
        if vectors and path and path not in inner and "weight" not in leaves:
            last = [leaf in ("bias", "beta", "offset", "shift") for leaf in leaves]
            scale, offset = reversed(keys) if last == [True, False] else keys
            place = tuple(path.split("."))
            found[scale], found[offset] = (place, "weight"), (place, "bias")
    return found


def _modern(key: str) -> str:
    if "parametrizations." not in key:
        return key
    for pattern, plain in _STORED:
        key = pattern.sub(plain, key)
    return key


def belongs(key: str, known: dict[str, set[str]]) -> tuple[tuple[str, ...], str]:
    """Return the path of the unit that a key belongs to, and its role there."""
    path, _, leaf = _modern(key).rpartition(".")
    parts = tuple(path.split(".")) if path else ()
    own = known[path]
    if leaf in _ROLES:
        return parts, leaf
    if leaf in _STATISTICS:
        return parts, _STATISTICS[leaf]
    if leaf == "weight_orig" and own.isdisjoint({"weight_u", "weight_mask"}):
        return parts, "weight"  # a parametrization that keeps nothing else
    if leaf in ("weight_g", "weight_v", "weight_orig", "weight_u"):
        return parts, leaf
    pair = _PAIRED.fullmatch(leaf)
    if pair and (pair["before"] or pair["after"]):
        name = "_".join(filter(None, (pair["before"], pair["after"])))
        start, end = pair.span("role")
        for both in _PAIRS:
            if pair["role"] in both and {leaf[:start] + role + leaf[end:] for role in both} <= own:
                return (*parts, name), "weight" if pair["role"] == both[0] else "bias"
    return (*parts, leaf), "weight"
