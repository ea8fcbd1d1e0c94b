"""A bare name, `Conv2d` or `relu`, and the places in torch, torchvision and Python that have it.

places(word)   Places: where it is, or the nearest names

Upper and lower case, underscores between words and the one of in-place functions make no difference:
`relu` is torch.relu, F.relu, nn.ReLU and Tensor.relu_. torchvision takes long to import: it is imported
where its sources have the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ptools.errors import PtoolsError
from ptools_plugins.inspection.finding import closest, has, importing, key, same
from ptools_plugins.inspection.members import is_foreign, kind_of, summary_of

TORCH = (
    "torch.nn", "torch", "torch.nn.functional", "torch.Tensor", "torch.optim", "torch.optim.lr_scheduler",
    "torch.linalg", "torch.fft", "torch.special", "torch.nn.init", "torch.nn.utils", "torch.nn.utils.rnn",
    "torch.nn.utils.parametrizations", "torch.utils.data", "torch.distributions", "torch.autograd",
    "torch.autograd.functional", "torch.func", "torch.amp", "torch.cuda", "torch.sparse", "torch.random",
    "torch.jit", "torch.onnx", "torch.export", "torch.nn.parallel", "torch.backends", "torch.utils",
    "torch.distributed", "torch.profiler", "torch.nn.attention", "builtins",
)  # fmt: skip
TORCHVISION = (
    "torchvision.transforms.v2", "torchvision.transforms.v2.functional", "torchvision.models",
    "torchvision.datasets", "torchvision.ops", "torchvision.utils", "torchvision.io",
    "torchvision.tv_tensors",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """One place that has the name; `also` are other names of the same object."""

    name: str
    kind: str
    summary: str
    exact: bool
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Places:
    """The places that have a name, the exact spelling first; else the names that are nearest."""

    word: str
    found: list[Place]
    near: list[str]

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"word": self.word, "found": [asdict(place) for place in self.found]}


def places(word: str) -> Places:
    """Return where torch, torchvision and Python have `word`. Raises PtoolsError without torch."""
    if importing("torch") is None:
        raise PtoolsError(f"there is no module '{word}' here, and torch is not installed.")
    held = {name: value for name in TORCH if (value := _holder(name)) is not None}
    if _in_sources(word):
        held |= {name: value for name in TORCHVISION if (value := _holder(name)) is not None}
    names: dict[str, list[str]] = {name: _public(value) for name, value in held.items()}
    hits = [
        (f"{holder}.{name}", name, getattr(held[holder], name))
        for holder, inside in names.items()
        for name in inside
        if same(name, word)
    ]
    found = sorted(_merged(hits, word), key=lambda place: not place.exact)
    return Places(word, found, [] if found else _near(word, names))


def _holder(name: str) -> Any:
    """Return a module, or a class in one, that may hold names."""
    if name == "torch.Tensor":
        import torch

        return torch.Tensor
    return importing(name)


def _public(holder: Any) -> list[str]:
    names = [name for name in dir(holder) if not name.startswith("_") and has(holder, name)]
    return [name for name in names if not is_foreign(holder, name, getattr(holder, name))]


def _merged(hits: Iterable[tuple[str, str, Any]], word: str) -> Iterator[Place]:
    """Yield a place per object: the same one is often in several."""
    objects: dict[int, list[tuple[str, str, Any]]] = {}
    for hit in hits:
        objects.setdefault(id(hit[2]), []).append(hit)
    for hits_of_one in objects.values():
        name, short, value = hits_of_one[0]
        also = tuple(other for other, _, _ in hits_of_one[1:])
        exact = any(one == word for _, one, _ in hits_of_one)
        yield Place(name, kind_of(value), summary_of(value, short), exact, also)


def _near(word: str, names: dict[str, list[str]]) -> list[str]:
    """Return up to three full names that are spelled nearly so."""
    full: dict[str, str] = {}
    for holder, inside in names.items():
        for name in inside:
            full.setdefault(key(name), f"{holder}.{name}")
    return list(closest(word, full, 3))


def _in_sources(word: str) -> bool:
    """Whether torchvision defines the name, read from its files: it is imported only then."""
    import importlib.util
    from pathlib import Path

    try:
        spec = importlib.util.find_spec("torchvision")
    except (ImportError, ValueError):
        return False
    if spec is None or not spec.origin:
        return False
    letters = "_?".join(map(re.escape, word.replace("_", "")))
    defined = re.compile(rf"^(?:def|class) {letters}_?\b", re.M | re.I)
    for part in ("transforms/v2", "models", "datasets", "ops", "io", "tv_tensors", "."):
        for file in sorted((Path(spec.origin).parent / part).glob("*.py")):
            if defined.search(file.read_text("utf-8", "replace")):
                return True
    return False
