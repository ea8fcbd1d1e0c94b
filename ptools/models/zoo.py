"""torchvision's models: which there are, without importing it, and what builds one.

names()     {name: what} of its classification models, read from its files
maker(...)  what builds one, without weights: nothing is downloaded
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ptools.errors import UsageError, suggestion

# @register_model() or @register_model(name="x"), more decorators, def x(...), its docstring
_REGISTERED = re.compile(
    r'^@register_model\((?:name="(?P<other>\w+)")?\)\n(?:@.*\n|[ )].*\n)*?def (?P<name>\w+)\('
    r'(?:.*\n)*?    r?"""\s*(?P<what>(?:.+\n)+)',
    re.MULTILINE,
)
_MARKUP = re.compile(r"`([^`<]*?)\s*<[^`]*>`_*|:\w+:`([^`]*)`|[`*]+")


def names() -> dict[str, str]:
    """Return the names of torchvision.models.list_models(models), sorted, and a line on each.

    Importing torchvision takes seconds; its files are scanned instead. Empty where it is missing.
    """
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return {}
    found = {}
    for file in Path(spec.origin).with_name("models").glob("*.py"):
        text = file.read_text("utf-8", "replace")
        for match in _REGISTERED.finditer(text):
            found[match["other"] or match["name"]] = _plain(match["what"])
    return dict(sorted(found.items()))


def _plain(text: str) -> str:
    """Return a paragraph of reStructuredText as one line, without its marks."""
    line = _MARKUP.sub(lambda m: m[1] or m[2] or "", " ".join(text.split()))
    return line.replace(" .", ".").rstrip('"').strip()


def version() -> str:
    """Return the version of torchvision that is installed, from its metadata."""
    from importlib.metadata import version as installed

    return installed("torchvision")


def maker(
    name: str,
    classes: int | None,
    shape: tuple[int, ...] | None,
    positional: list[Any],
    named: dict[str, Any],
    known: list[str],
) -> Callable[[], Any]:
    """Return what builds torchvision's model `name`. Raises UsageError where there is none."""
    import inspect
    import warnings

    from torchvision import models

    every = models.list_models()
    if name not in every:
        close = suggestion(name, known + every) or " See: ptools list models"
        raise UsageError(f"no model is called '{name}'.{close}")
    make = models.get_model_builder(name)
    default: dict[str, Any] = {"weights": None, "weights_backbone": None}
    if classes is not None:
        default["num_classes"] = classes
    signature = inspect.signature(make).parameters
    flexible = any(p.kind is p.VAR_KEYWORD for p in signature.values())
    for key, value in default.items():
        if key in signature or (key == "num_classes" and flexible):
            named.setdefault(key, value)
    wanted = shape if classes is not None else None  # to be trained: any size; else as published
    for key, value in _sizes(make, wanted).items():
        named.setdefault(key, value)

    def built() -> Any:
        with warnings.catch_warnings():  # GoogLeNet and Inception announce another initialisation
            warnings.simplefilter("ignore", FutureWarning)
            return make(*positional, **named)

    return built


def _sizes(make: Any, shape: tuple[int, ...] | None) -> dict[str, Any]:
    """Return the image size for the two families that are built for one: ViT and MaxViT."""
    family = make.__module__.rpartition(".")[2]
    if shape is None or len(shape) != 3:
        return {}
    if family == "vision_transformer" and shape[1] == shape[2]:
        return {"image_size": shape[1]}
    return {"input_size": tuple(shape[1:])} if family == "maxvit" else {}
