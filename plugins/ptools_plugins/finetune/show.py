"""What a person sees before the epochs: what was loaded, what was not, what is frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptools import output

if TYPE_CHECKING:
    from ptools.training.frozen import Frozen
    from ptools.training.weights import Loaded

__all__ = ["tell_frozen", "tell_loaded"]

_FEW = 3  # names or rules in one line


def tell_loaded(loaded: Loaded) -> None:
    """Say what was loaded, what was not, and why."""
    count, total = len(loaded.names), len(loaded.names) + len(loaded.new)
    new = f"; new: {_few(_modules(loaded.new))}" if loaded.new else ""
    output.note(
        f"loaded {count}/{total} tensors ({_percent(loaded)} of the parameters) from {loaded.path}{new}"
    )
    _tell_changes(loaded)
    more = f"ptools partial-load {loaded.path} --model ... --dry-run"
    if loaded.likely:
        names = _few(_modules(loaded.likely))
        output.note(
            f"left: {names}: likely to fit; --accept likely loads them, '{more}' shows them"
        )
    if loaded.ambiguous:
        names = _few(_modules(loaded.ambiguous))
        output.note(f"left: {names}: several tensors would fit; '{more}' shows them")
    for op in ("channels", "resize", "bias"):
        if some := [name for name, offer in loaded.offers.items() if offer == op]:
            names = _few(_modules(some))
            output.note(f"left: {names}: would fit with 'ptools partial-load ... --adapt {op}'")


def tell_frozen(frozen: Frozen) -> None:
    """Say what does not move."""
    output.note(
        f"frozen {len(frozen.names)} tensors, {frozen.parameters:,} parameters, in eval mode: "
        f"{_few(frozen.eval) or 'nothing'}; left to train: {frozen.trainable:,} parameters"
    )
    for text in frozen.warnings:
        output.note(f"Warning: {text}")


def _tell_changes(loaded: Loaded) -> None:
    """One line where tensors have other names in the file, one where they are made of others."""
    renamed = [name for name, move in loaded.moves.items() if move.op == "copy"]
    made = sorted({move.op for move in loaded.moves.values() if move.op != "copy"})
    if renamed:
        output.note(f"renamed {len(renamed)} tensors: {_few(_rules(loaded, renamed))}")
    if made:
        count = len(loaded.moves) - len(renamed)
        output.note(f"made {count} tensors of others: {_few(made)}")


def _rules(loaded: Loaded, renamed: Sequence[str]) -> list[str]:
    """Return the rules that hold for several modules, or else the modules themselves."""
    rules = sorted(loaded.rules, key=lambda rule: -rule.modules)
    if rules and rules[0].modules > 1:
        return [f"{r.source} -> {r.target} ({r.modules} modules)" for r in rules if r.modules > 1]
    pairs = ((loaded.moves[name].sources[0], name) for name in renamed)
    return list(dict.fromkeys(" -> ".join(_modules([key])[0] for key in pair) for pair in pairs))


def _percent(loaded: Loaded) -> str:
    """Return the loaded share, never rounded up to all."""
    return "100 %" if loaded.filled == loaded.parameters else f"{int(loaded.share * 1000) / 10} %"


def _modules(names: Sequence[str]) -> list[str]:
    """Return the modules of tensors, each once."""
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def _few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _FEW} more" if len(texts) > _FEW else ""
    return ", ".join(texts[:_FEW]) + more
