"""Many keys in few lines: a tree of modules, alike neighbours as one, the deepest levels folded.

outline(items, room)   Lines for at most `room` lines; None: every key
grown(items)           the whole tree, as Node

Neighbours that are numbered and hold the same shapes and dtypes are one line: `{0..31}`; the figures
of such a line are those of all of them. What does not fit is folded: a module becomes one line that says
how many tensors it has. Optimizers' state is folded first.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ptools_plugins.inspection.contents import Item


@dataclass(eq=False)
class Node:
    """A module of the tree, or a tensor; `items` are all tensors it stands for."""

    name: str
    items: list[Item] = field(default_factory=list)
    below: dict[str, Node] = field(default_factory=dict)
    leaf: bool = False
    open: bool = False
    crowd: bool = False  # numbered neighbours that differ: it is never opened

    @property
    def optimizer(self) -> bool:
        """Whether it is an optimizer's state, which few want to see."""
        return self.name.startswith("optim") or "param_groups" in self.below


@dataclass(frozen=True)
class Line:
    """A line: its name behind `depth` indents, and the tensors it stands for; `folded`: a module."""

    name: str
    depth: int
    items: Sequence[Item]
    folded: bool
    heading: bool  # a module whose tensors have lines of their own


def outline(items: Iterable[Item], room: int | None = None, depth: int | None = None) -> list[Line]:
    """Return the lines of a tree of keys. `depth` opens so many levels; `room` else as many as fit."""
    root = grown(items)
    if room is None and depth is None:
        _open(root, 10_000)
        return list(_lines(root, 0))[1:]
    _merge(root)
    if depth is not None:
        _open(root, depth)
    else:
        _unfold(root, room or 0)
    return list(_lines(root, 0))[1:]


def grown(items: Iterable[Item]) -> Node:
    """Return the tree of all keys; modules with one thing in them are one node with it."""
    root = Node("", open=True)
    for item in items:
        node = root
        node.items.append(item)
        for part in item.parts:
            node = node.below.setdefault(part, Node(part))
            node.items.append(item)
        node.leaf = True
    _shorten(root)
    return root


def _shorten(root: Node) -> None:
    """Join chains: a module with a single child and no tensor of its own becomes `module.child`."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        short: dict[str, Node] = {}
        for child in node.below.values():
            while len(child.below) == 1 and not child.leaf:
                (only,) = child.below.values()
                only.name = f"{child.name}.{only.name}"
                child = only
            short[child.name] = child
        node.below = short
        waiting += short.values()


def _open(root: Node, depth: int) -> None:
    level = [root]
    for _ in range(depth + 1):
        for node in level:
            node.open = True
        level = [child for node in level for child in node.below.values()]


def _unfold(root: Node, room: int) -> None:
    """Open modules level by level, the largest first, as long as their lines fit; optimizers' last."""
    if len(root.below) > room:
        _crowd(root)
    used = len(root.below)
    level = [root]
    late: list[Node] = []
    while level:
        inside = [
            child for node in level if node.open for child in node.below.values() if child.below
        ]
        late += [child for child in inside if child.optimizer]
        level = [child for child in inside if not child.optimizer] or late[:1]
        late = late[1:] if level == late[:1] else late
        level = [child for child in level if not child.crowd]
        for child in level:
            if used + len(child.below) > room:
                _crowd(child)
        for child in sorted(level, key=lambda one: len(one.below)):
            if used + len(child.below) <= room:
                child.open = True
                used += len(child.below)


# -- alike neighbours ----------------------------------------------------------------------------------


def _merge(root: Node) -> None:
    """Make one node of numbered neighbours that hold the same, from the leaves up."""
    order = [root]
    for node in order:
        order += node.below.values()
    shapes: dict[int, Hashable] = {}
    known: dict[Hashable, int] = {}
    for node in reversed(order):
        below = tuple((child.name, shapes[id(child)]) for child in node.below.values())
        what = (node.items[0].shape, node.items[0].dtype) if node.leaf and node.items else None
        shapes[id(node)] = known.setdefault((what, below), len(known))
    for node in order:
        _merge_below(node, shapes)


def _merge_below(node: Node, shapes: dict[int, Hashable]) -> None:
    merged: list[list[Node]] = []
    for child in node.below.values():
        run = merged[-1] if merged else [child]
        if merged and _follows(run[-1], child) and shapes[id(run[0])] == shapes[id(child)]:
            run.append(child)
        else:
            merged.append([child])
    for run in merged:
        run[0].name = _name(run)
        for other in run[1:]:
            _join(run[0], other)
    node.below = {run[0].name: run[0] for run in merged}


def _follows(one: Node, other: Node) -> bool:
    """Whether a name goes on where another ends: layer3 after layer2, 3.weight after 2.weight."""
    before, after = _numbered(one.name), _numbered(other.name)
    if before is None or after is None:
        return False
    return (after[0], after[2]) == (before[0], before[2]) and after[1] == before[1] + 1


def _numbered(name: str) -> tuple[str, int, str] | None:
    """Return layer, 3, .weight for layer3.weight; None where the first part ends with no plain number."""
    match = re.fullmatch(r"([^.]*?)(0|[1-9][0-9]{0,8})((?:\..*)?)", name, re.ASCII)
    return (match[1], int(match[2]), match[3]) if match else None


def _name(run: list[Node]) -> str:
    """Return the name of several numbered nodes: layer{0..3}.weight."""
    first, last = _numbered(run[0].name), _numbered(run[-1].name)
    if len(run) == 1 or first is None or last is None:
        return run[0].name
    return f"{first[0]}{{{first[1]}..{last[1]}}}{first[2]}"


def _crowd(node: Node) -> None:
    """Make one folded node of numbered neighbours that differ, where there are too many to be shown."""
    crowds: list[list[Node]] = []
    for child in node.below.values():
        if crowds and _follows(crowds[-1][-1], child):
            crowds[-1].append(child)
        else:
            crowds.append([child])
    node.below = {}
    for run in crowds:
        one = run[0]
        if len(run) > 1:
            items = [item for other in run for item in other.items]
            one = Node(_name(run), items, {other.name: other for other in run}, crowd=True)
        node.below[one.name] = one


def _join(one: Node, other: Node) -> None:
    """Add the tensors of an alike node, all the way down."""
    pairs = [(one, other)]
    while pairs:
        left, right = pairs.pop()
        left.items += right.items
        pairs += zip(left.below.values(), right.below.values(), strict=True)


def _lines(root: Node, depth: int) -> Iterator[Line]:
    waiting = [(root, depth)]
    while waiting:
        node, depth = waiting.pop()
        heading = bool(node.below) and node.open
        folded = bool(node.below) and not node.open
        yield Line(node.name, depth - 1, node.items, folded, heading)
        if heading:
            waiting += [(child, depth + 1) for child in reversed(node.below.values())]
