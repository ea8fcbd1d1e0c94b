"""The state_dict of a TorchScript archive, from its data alone: its code is read as text, never run.

state_dict(tree, code)   parameters, then buffers, then submodules, each in the order of registration
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ptools.checkpoints.made import Made
from ptools.checkpoints.stored import Damaged, Stored

DEPTH = 200
MODULES = 100_000


def state_dict(tree: Any, code: Callable[[str], str]) -> dict[str, Any]:
    """Return the parameters and buffers of a scripted or traced module, named as in PyTorch.

    `code` returns the text of a file of the archive's code folder, "" where there is none.
    """
    if not isinstance(tree, Made) or not isinstance(tree.state, dict):
        raise Damaged("the TorchScript archive holds no module")
    found: dict[str, Any] = {}
    listed: dict[tuple[str, str], list[str] | None] = {}
    waiting = [(tree, "", 0)]  # a stack: depth first, in order
    for _ in range(MODULES):
        if not waiting:
            return found
        module, prefix, depth = waiting.pop()
        if depth > DEPTH:
            break
        place = (module.of.module, module.of.name)
        if place not in listed:
            listed[place] = _registered(*place, code)
        names = listed[place]
        for name in module.state if names is None else names:
            if isinstance(module.state.get(name), Stored):
                found[f"{prefix}{name}"] = module.state[name]
        waiting += [
            (value, f"{prefix}{name}.", depth + 1)
            for name, value in reversed(module.state.items())
            if isinstance(value, Made) and isinstance(value.state, dict)
        ]
    raise Damaged("the TorchScript archive's modules are nested without end")


def _registered(module: str, name: str, code: Callable[[str], str]) -> list[str] | None:
    """Return the names of a class's parameters and buffers, as its source lists them."""
    text = code(module.replace(".", "/") + ".py")
    start = text.find(f"class {name}(Module)")
    if start < 0:
        return None
    end = text.find("\nclass ", start + 1)
    names = []
    for line in ("__parameters__", "__buffers__"):
        found = re.search(rf"{line} = \[(.*?)\]", text[start : end if end > 0 else None])
        names += re.findall(r'"([^"]*)"', found[1]) if found else []
    return names
