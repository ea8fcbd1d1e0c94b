"""Last: a number in the source that equals a wrong size, replaced by the right one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain, pairwise

import torch

from ptools.tracing.repair import edits
from ptools.tracing.repair.case import Candidate, Case
from ptools.tracing.repair.values import said


def candidates(case: Case) -> Iterator[Candidate]:
    """Last: a whole number in the source that equals a wrong size, replaced by the right one."""
    pairs = list(dict.fromkeys(sizes(case)))
    yield from _batches(case, pairs)
    for old, new in pairs:
        for source, node in case.nodes():
            whole = isinstance(node, ast.expr) and edits.value_of(node) == old
            if whole and edits.value_of(source.parents.get(node)) is None and old > 0:
                yield Candidate.of(source.replace(node, str(new)))


def replaced(case: Case, old: int, new: int) -> Iterator[Candidate]:
    """Yield, for every number in the files that is `old`, the edit that makes it `new`."""
    for source, node in case.nodes():
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value == old:
            yield Candidate.of(source.replace(node, str(new)))


def _batches(case: Case, pairs: list[tuple[int, int]]) -> Iterator[Candidate]:
    """A batch size written into forward(): every one of that function becomes x.size(0)."""
    batch = int(case.inputs[0].shape[0]) if case.inputs and case.inputs[0].dim() else 0
    for old in [old for old, new in pairs if new == batch and old > 1]:
        for source, node in case.nodes():
            if not isinstance(node, ast.FunctionDef) or len(node.args.args) < 2:
                continue
            name = node.args.args[1].arg
            held = [n for n in ast.walk(node) if isinstance(n, ast.Constant) and n.value == old]
            if node.name == "forward" and held:
                yield Candidate(tuple(source.replace(n, f"{name}.size(0)") for n in held))


def sizes(case: Case) -> Iterator[tuple[int, int]]:
    """Yield (a size in the source that may be wrong, the size it should be)."""
    found = case.misfit
    if found is not None and found.want and found.have:
        yield found.want, found.have
        yield found.have, found.want
    yield from _spoken(said(case.crash.error))
    tensors = _operands(case)
    for one, other in pairwise(tensors):
        for a, b in chain(zip(one.shape, other.shape, strict=False), _reversed(one, other)):
            if a != b:
                yield int(a), int(b)
                yield int(b), int(a)


def _spoken(message: str) -> Iterator[tuple[int, int]]:
    """Read the sizes out of a message: Expected hidden[0] size (2, 20, 32), got [2, 64, 32]."""
    shapes = [
        [int(n) for n in re.findall(r"\d+", text)]
        for text in re.findall(r"[\[(](\d+(?:, ?\d+)+)[\])]", message)
    ]
    for one, other in pairwise(shapes):
        if len(one) == len(other):
            for a, b in zip(one, other, strict=True):
                if a != b:
                    yield b, a
                    yield a, b


def _reversed(one: torch.Tensor, other: torch.Tensor) -> Iterator[tuple[int, int]]:
    yield from zip(reversed(one.shape), reversed(other.shape), strict=False)


def _operands(case: Case) -> list[torch.Tensor]:
    from ptools.tracing.repair.witness import each_tensor

    call = case.crash.function
    return list(each_tensor((call.args, call.kwargs))) if call else []
