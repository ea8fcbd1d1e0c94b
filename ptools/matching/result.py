"""What a match is: a value that says which tensor goes where, how sure that is, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Shape = tuple[int, ...]
Confidence = Literal["certain", "likely"]
Verdict = Literal["complete", "partial", "ambiguous", "different"]


class Transform(NamedTuple):
    """How one target tensor is made of source tensors. The operations, in PyTorch's words:

    cat0                 torch.cat(sources, 0): separate query, key, value into a fused one
    split0:i/n           source.chunk(n)[i]: the reverse
    transpose            source.T: a Linear stored as (in, out), as GPT-2's Conv1D does
    transpose,cat1       torch.cat([s.T ...], 0) of sources stored as (in, out); or its reverse
    transpose,split0:i/n source.T.chunk(n)[i]
    """

    op: str
    sources: tuple[str, ...]


class Rule(NamedTuple):
    """A renaming that was induced: target names as `target` come from source names as `source`.

    Both are patterns with `{}` for what is carried over; `modules` of them follow it.
    """

    source: str
    target: str
    modules: int


@dataclass(frozen=True)
class Match:
    """Which source tensor belongs to which target tensor.

    mapping      {target key: source key}; shapes are equal, or differ by sizes of 1 only
    transforms   {target key: (op, (source keys))}, for those that are not a plain copy
    confidence   {target key: "certain" | "likely"}, of every key of the two above
    ambiguous    {target key: [candidate source keys]}: nothing but a person can decide
    unmatched    {target key: reason}
    offers       {target key: (op, (source keys))}: would fit after a step that loses or invents values
                 ("channels", "resize", "rows", "bias"); never done unasked
    unused       source keys that go nowhere
    verdict      complete: every target key is mapped, certainly or likely; partial: some are; ambiguous:
                 something is left to decide; different: these are two different networks
    rules        the renaming that was induced
    reasons      {target key: how it was decided}, in words
    """

    mapping: dict[str, str] = field(default_factory=dict)
    transforms: dict[str, Transform] = field(default_factory=dict)
    confidence: dict[str, Confidence] = field(default_factory=dict)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)
    offers: dict[str, Transform] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    verdict: Verdict = "different"
    rules: list[Rule] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
