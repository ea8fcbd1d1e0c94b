"""Which mapping of a loaded object is the state_dict: found by its structure, chosen by its name.

candidates(tree)          every mapping that looks like a state_dict, at most DEPTH keys deep
preferred(candidates)     the best of them

A mapping is a candidate when at least half of its entries are tensors under names (str) and none of
its entries is itself a candidate. An optimizer's state is none: nothing is looked for beside
`param_groups`, nor under a key that starts with "optim". Preferred are, in this order:

1. trained weights before averaged ones (ema, swa, teacher, averaged...): the averaged ones are
   smoother, but what a file calls its model is what a person expects; `seen` names the others,
2. the order of NAMES, for the outermost key that is one of them; the object itself comes first,
3. the most tensors, then the first stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ptools.checkpoints.made import Made
from ptools.checkpoints.stored import Stored

DEPTH = 4
NAMES = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "student",
    "generator",
    "netG",
    "encoder",
    "backbone",
    "state_dict_ema",
    "model_ema",
    "ema",
    "params_ema",
    "teacher",
)
_AVERAGED = re.compile(r"(^|_)(ema|swa|avg|averaged?|shadow|teacher|momentum)(_|$)|ema$", re.I)
_WIDEST = 200_000  # mappings looked at; a checkpoint has a few dozen


@dataclass(frozen=True)
class Candidate:
    """A mapping of names to tensors: its keys from the top, itself, and the number of its tensors."""

    keys: tuple[str, ...]
    value: Mapping[Any, Any]
    tensors: int

    @property
    def where(self) -> str:
        """The keys with dots between them; "" for the object itself."""
        return ".".join(self.keys)


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor, of a file or of torch."""
    if isinstance(value, Stored):
        return True
    import sys

    torch = sys.modules.get("torch")  # without it, no value can be one of its tensors
    return torch is not None and isinstance(value, torch.Tensor)


def entries(value: Any) -> Mapping[Any, Any] | None:
    """Return a mapping's entries, or those of an object that was given some; None for others."""
    if isinstance(value, Made):
        return value.items or None
    return value if isinstance(value, dict) else None


def mappings(tree: Any) -> Iterator[Candidate]:
    """Yield every mapping with tensors, outermost first, each once; optimizers' state is left out."""
    level: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    met: set[int] = set()
    for depth in range(DEPTH + 1):
        deeper: list[tuple[tuple[str, ...], Any]] = []
        for keys, value in level:
            found = entries(value)
            if found is None or id(value) in met or len(met) > _WIDEST:
                continue
            met.add(id(value))
            tensors = sum(isinstance(k, str) and is_tensor(v) for k, v in found.items())
            if tensors:
                yield Candidate(keys, found, tensors)
            if depth < DEPTH and "param_groups" not in found:
                deeper += [((*keys, name), item) for name, item in found.items() if _open(name)]
        level = deeper


def _open(name: Any) -> bool:
    """Whether a state_dict may lie under this key."""
    return isinstance(name, str) and not name.startswith("optim") and "_extra_state" not in name


def candidates(tree: Any) -> list[Candidate]:
    """Return the mappings that look like a state_dict."""
    found = [m for m in mappings(tree) if 2 * _tensorish(m) >= len(m.value)]
    parents = {m.keys[:-1] for m in found if m.keys}
    return [m for m in found if m.keys not in parents]


def _tensorish(found: Candidate) -> int:
    """Return how many entries are tensors, those included that are not read: sparse, quantized."""
    strange = (v for v in found.value.values() if isinstance(v, Made))
    return found.tensors + sum(value.of.module == "torch._utils" for value in strange)


def preferred(found: list[Candidate]) -> Candidate:
    """Return the candidate that is most likely the trained weights."""

    def rank(candidate: Candidate) -> tuple[bool, int, int]:
        averaged = any(_AVERAGED.search(key) for key in candidate.keys)
        ranks = [NAMES.index(key) for key in candidate.keys if key in NAMES]
        name = ranks[0] if ranks else len(NAMES)
        return averaged, name if candidate.keys else -1, -candidate.tensors

    return min(found, key=rank)
