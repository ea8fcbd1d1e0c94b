"""How alike two names are: equal words, words of one meaning, abbreviations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

# a word, a number (no longer than an int64), or the size of a kernel
TOKEN = re.compile(r"[0-9]{1,9}(?:x[0-9]{1,9})+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]{1,18}")
# words that the field uses for one thing; which library uses which is of no matter here
_SYNONYMS = [
    {"norm", "bn", "ln", "batchnorm", "layernorm", "normalization"},
    {"fc", "linear", "dense", "lin"},
    {"conv", "convolution"},
    {"head", "classifier", "fc", "logits"},
    {"head", "output", "unembed"},
    {"embed", "embedding", "embeddings", "emb"},
    {"shortcut", "downsample", "skip", "identity", "residual"},
    {"encoder", "enc", "down", "analysis"},
    {"decoder", "dec", "up", "synthesis"},
    {"encoder", "enc", "source", "src"},
    {"decoder", "dec", "target", "tgt", "trg"},
    {"target", "tgt", "trg", "dst", "destination"},
    {"query", "q"},
    {"key", "k"},
    {"value", "v"},
    {"output", "out", "o"},
    {"input", "in"},
    {"position", "pos", "positional"},
    {"depthwise", "dw"},
    {"pointwise", "pw"},
    {"stem", "first", "entry"},
    {"self", "slf"},
    {"actor", "policy", "pi"},
    {"critic", "value", "vf"},
    {"cross", "crs"},
]


@lru_cache(maxsize=100_000)
def likeness(a: Sequence[str], b: Sequence[str]) -> float:
    """Return how alike two sequences of tokens are, 0 to 1; numbers are not looked at."""
    first = [word.lower() for word in a if not word.isdigit()]
    second = [word.lower() for word in b if not word.isdigit()]
    if not first or not second:
        return 0.0
    there = sum(max(_alike(x, y) for y in second) for x in first)
    back = sum(max(_alike(x, y) for x in first) for y in second)
    return (there + back) / (len(first) + len(second))


@lru_cache(maxsize=100_000)
def _alike(a: str, b: str) -> float:
    if a == b:
        return 1.0
    if any(a in words and b in words for words in _SYNONYMS):
        return 0.8
    short, long = sorted((a, b), key=len)
    if long.startswith(short):
        return 0.6
    if a[0] == "w" != b[0] and len(a) > 1:  # wq: the weights of a query
        return 0.8 * _alike(a[1:], b)
    if b[0] == "w" != a[0] and len(b) > 1:
        return 0.8 * _alike(a, b[1:])
    letters = iter(long)
    abbreviated = len(short) > 1 and a[0] == b[0] and all(c in letters for c in short)
    return 0.4 if abbreviated else 0.0


_OPPOSITES = [
    ({"source", "src"}, {"target", "tgt", "trg", "dst", "destination"}),
    ({"encoder", "enc"}, {"decoder", "dec"}),
    ({"query", "q"}, {"key", "k"}, {"value", "v"}, {"output", "out", "o"}),
    ({"input", "in"}, {"output", "out"}),
    ({"up"}, {"down"}),
    ({"left"}, {"right"}),
]


@lru_cache(maxsize=100_000)
def opposed(a: Sequence[str], b: Sequence[str]) -> bool:
    """Return whether one name says a thing of which the other says the opposite: source and target."""
    first, second = ({word.lower() for word in name} for name in (a, b))
    return any(
        (first & x and second & y and not first & y and not second & x)
        for words in _OPPOSITES
        for x in words
        for y in words
        if x is not y
    )


_FIRST = {"before", "pre", "first", "in", "input", "a", "initial", "macaron"}
_LATER = {"after", "post", "final", "last", "second", "out", "output", "b"}


def ordinal(name: str, tokens: Sequence[str]) -> int | None:
    """Return 1 or 2 where the last word of a name says first or second: norm1, ln_a, layernorm_before."""
    last = tokens[-1].lower() if tokens else ""
    if last.isdigit():
        return int(last) if last in ("1", "2") and not name.isdigit() else None
    words = {token.lower() for token in tokens[-2:]}
    if words & _FIRST:
        return 1
    return 2 if words & _LATER else None


_PARTS = [  # of a block, in the order in which data passes through them
    ({"q", "query", "wq", "queries"}, 1.0),
    ({"k", "key", "wk", "keys"}, 2.0),
    ({"v", "value", "wv", "values"}, 3.0),
    ({"mid", "middle"}, 4.5),
    ({"mu", "mean"}, 2.0),
    ({"logvar", "var", "sigma", "std", "logstd"}, 3.0),
    ({"cross", "crs", "ca"}, 5.0),
    ({"self", "slf", "sa", "masked", "causal"}, 4.0),
    ({"attn", "att", "attention", "mha", "msa"}, 4.2),
    ({"gate"}, 5.5),
    ({"up", "intermediate"}, 5.7),
    ({"ffn", "ff", "mlp", "feedforward", "feed", "forward", "moe", "experts"}, 6.0),
]
_ELSEWHERE = {
    "encoder",
    "enc",
    "src",
    "source",
    "memory",
    "context",
    "inter",
}  # what is attended to
_BEFORE, _AFTER = {"before", "pre", "in", "input", "macaron"}, {"after", "post", "out", "output"}


@lru_cache(maxsize=100_000)
def time(name: str) -> float | None:
    """Return when a part of a block is passed, against the others of the block, where its name says so."""
    words = {token.lower() for token in TOKEN.findall(name)}
    if any(word.isdigit() for word in words):
        return None
    for those, when in _PARTS:
        if words & those:
            if when == 4.2 and words & _ELSEWHERE:
                when = 5.0
            return when - 0.4 * bool(words & _BEFORE) + 0.4 * bool(words & _AFTER)
    if words & _FIRST:
        return 0.5
    return 9.0 if words & _LATER else None


_LOOKED_UP = {
    "embed",
    "embedding",
    "embeddings",
    "emb",
    "embs",
    "wte",
    "tok",
    "token",
    "tokens",
    "vocab",
    "lookup",
}
_PREDICTED = {
    "head",
    "out",
    "output",
    "unembed",
    "logits",
    "classifier",
    "generator",
    "lm",
    "predict",
}


def end(tokens: Sequence[str]) -> str:
    """Return at which end of a network the name of a table of words puts it: "in", "out" or nothing."""
    words = {token.lower() for token in tokens}
    return "out" if words & _PREDICTED else "in" if words & _LOOKED_UP else ""
