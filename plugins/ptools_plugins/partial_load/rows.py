"""What is loaded, as rows for people: modules instead of tensors, ranges instead of numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ptools.matching.apply import text
from ptools_plugins.partial_load.adapting import label
from ptools_plugins.partial_load.naming import source_text
from ptools_plugins.partial_load.plan import COUNTER, Item, Shapes
from ptools_plugins.partial_load.ranges import compress

Kind = tuple[frozenset[tuple[str, int]], str, str]  # leaves and dimensions, rule, confidence


@dataclass(frozen=True)
class Shown:
    """One line of the table; `keys` are the target's tensors it stands for."""

    target: str
    source: str
    shape: str
    rule: str
    confidence: str
    keys: tuple[str, ...]


def rows(items: Mapping[str, Item], source: Shapes, target: Shapes) -> list[Shown]:
    """Return the lines that show `items`."""
    pairs, keys = _modules(items, source, target)
    named = [_module(key) for key in target], [_module(key) for key in source]
    found = []
    for row in compress(pairs, {*target, *named[0]}, {*source, *named[1]}):
        of = [key for pair in row.pairs for key in keys[pair]]
        _, rule, sure = cast(Kind, row.kind)
        shapes = [text(target[keys[pair][0]]) for pair in row.pairs]
        found.append(Shown(row.target, row.source, _span(shapes), rule, sure, tuple(of)))
    return found


def patterns(keys: Sequence[str], everything: Collection[str]) -> list[tuple[str, list[str]]]:
    """Return (pattern, keys) for a list of tensors, whole modules as one."""
    inside: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        inside[_module(key)].append(key)
    whole: dict[str, set[str]] = defaultdict(set)
    for key in everything:
        whole[_module(key)].add(key)
    means: dict[str, list[str]] = {}
    for module, part in inside.items():
        full = module and _without_counter(whole[module]) <= set(part)
        means |= {module: part} if full else {key: [key] for key in part}
    found = compress([(name, name, "") for name in means], {*everything, *whole}, ())
    return [(row.target, [key for t, _ in row.pairs for key in means[t]]) for row in found]


def _module(key: str) -> str:
    return key.rpartition(".")[0]


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def _without_counter(keys: Iterable[str]) -> set[str]:
    return {key for key in keys if _leaf(key) != COUNTER}


def _modules(
    items: Mapping[str, Item], source: Shapes, target: Shapes
) -> tuple[list[tuple[str, str, object]], dict[tuple[str, str], list[str]]]:
    """Return the pairs to show, with their kind, and the target keys of each."""
    whole: dict[str, set[str]] = defaultdict(set)
    for key in target:
        whole[_module(key)].add(key)
    inside: dict[str, list[Item]] = defaultdict(list)
    for item in items.values():
        inside[_module(item.target)].append(item)
    pairs: list[tuple[str, str, object]] = []
    keys: dict[tuple[str, str], list[str]] = {}
    for module, part in inside.items():
        kinds = {(_rule(item, source, target), item.confidence) for item in part}
        olds = {source_text(item.op, [_module(s) for s in item.sources]) for item in part}
        alike = all(_leaf(s) == _leaf(item.target) for item in part for s in item.sources)
        complete = _without_counter(whole[module]) <= {item.target for item in part}
        if module and "" not in olds and len(kinds) == len(olds) == 1 and alike and complete:
            pair = module, olds.pop()
            pairs.append((*pair, (_layout(part, target), *kinds.pop())))
            keys[pair] = [item.target for item in part]
            continue
        for item in part:
            pair = item.target, source_text(item.op, item.sources)
            kind = _layout([item], target), _rule(item, source, target), item.confidence
            pairs.append((*pair, kind))
            keys[pair] = [item.target]
    return pairs, keys


def _layout(part: Sequence[Item], target: Shapes) -> frozenset[tuple[str, int]]:
    """Return what kind of module it is: a convolution and a BatchNorm share no line."""
    return frozenset(
        (_leaf(i.target), len(target[i.target])) for i in part if _leaf(i.target) != COUNTER
    )


def _rule(item: Item, source: Shapes, target: Shapes) -> str:
    """Return how a tensor gets there, in a word or two."""
    said = item.reason if item.confidence == "given" else ""
    if item.op != "copy":
        done = label(item, source, target)
        return said if said == f"--adapt {done}" else f"{said}: {done}" if said else done
    if said:
        return said
    if source[item.sources[0]] != target[item.target]:
        return "reshape"
    old = item.sources[0]
    if old == item.target:
        return "same name"
    if old.endswith(f".{item.target}") or item.target.endswith(f".{old}"):
        return "prefix"
    return "renamed"


def _span(shapes: list[str]) -> str:
    return shapes[0] if len(set(shapes)) == 1 else f"{shapes[0]} .. {shapes[-1]}"
