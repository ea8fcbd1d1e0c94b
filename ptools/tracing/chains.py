"""A chain of layers as values: what each is called, its arguments, how it is built and written.

build    layers -> nn.Sequential, on the meta device or another
source   layers -> code to paste back
check    refuses a layer that cannot be built, with what to write instead
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ptools.errors import UsageError, one_line, suggestion

if TYPE_CHECKING:
    from inspect import Parameter

    import torch
    from torch import nn

__all__ = ["Argument", "Layer", "build", "check", "numbered", "source"]

REPEATS = 1000  # num_layers: more would only keep the constructor busy for hours
# What `?` can stand for: the argument that the input decides, and the dimension it is read from.
_SIZES = {
    "Linear": ("in_features", -1), "AdaptiveLogSoftmaxWithLoss": ("in_features", -1),
    "LayerNorm": ("normalized_shape", -1), "RMSNorm": ("normalized_shape", -1),
    "GroupNorm": ("num_channels", 1), "SyncBatchNorm": ("num_features", 1),
    "PReLU": ("num_parameters", 1), "MultiheadAttention": ("embed_dim", -1),
    "Transformer": ("d_model", -1), "TransformerEncoderLayer": ("d_model", -1),
    "TransformerDecoderLayer": ("d_model", -1),
    **{f"{kind}{cell}": ("input_size", -1) for kind in ("RNN", "LSTM", "GRU") for cell in ("", "Cell")},
    **{f"{kind}{n}d": ("in_channels", -n - 1) for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)},
    **{f"InstanceNorm{n}d": ("num_features", -n - 1) for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": ("num_features", 1) for n in (1, 2, 3)},
}  # fmt: skip


@dataclass(frozen=True)
class Argument:
    """One argument of a layer: a literal, a torch.dtype, a Layer, or the unknown `?`."""

    keyword: str | None
    value: Any
    text: str = ""

    @property
    def inner(self) -> Layer | None:
        """The layer that this is, as in TransformerEncoder(TransformerEncoderLayer(64, 4), 2)."""
        return self.value if isinstance(self.value, Layer) else None

    @property
    def unknown(self) -> bool:
        """Whether this is `?`, or a layer with one."""
        inner = self.inner
        return inner.unknown if inner else self.text == "?"

    def render(self, prefix: str) -> str:
        """Return it as source text."""
        inner = self.inner
        text = inner.render(prefix) if inner else self.text
        return f"{self.keyword}={text}" if self.keyword else text


@dataclass(frozen=True)
class Layer:
    """A layer of a chain: its name in nn.Sequential, its class in torch.nn, its arguments.

    A nested Sequential has `layers` and no arguments.
    """

    name: str
    kind: str
    arguments: tuple[Argument, ...] = ()
    layers: tuple[Layer, ...] = ()

    @property
    def text(self) -> str:
        """The source text in one line, without a prefix: `Conv2d(3, 32, 5, padding=2)`."""
        return self.render("")

    @property
    def unknown(self) -> bool:
        """Whether a `?` is left in it, or in a layer inside."""
        return any(a.unknown for a in self.arguments) or any(one.unknown for one in self.layers)

    def render(self, prefix: str) -> str:
        """Return the source text in one line, every class with `prefix` ("nn.") in front."""
        parts = [a.render(prefix) for a in self.arguments] + [
            one.render(prefix) for one in self.layers
        ]
        if self.layers and not numbered(self.layers):
            pairs = zip(self.layers, parts, strict=True)
            named = ", ".join(f"({json.dumps(one.name)}, {part})" for one, part in pairs)
            parts = [f"OrderedDict([{named}])"]
        return f"{prefix}{self.kind}({', '.join(parts)})"

    def module(self) -> nn.Module:
        """Build it on torch's default device; raises what the constructor raises."""
        from torch import nn

        if self.kind == "Sequential":
            return _sequential(self.layers)
        if any(one.text == "?" for one in self.arguments):
            raise UsageError(f"{self.text}: the `?` is not known yet; write the number.")
        values = [
            (one.keyword, one.inner.module() if one.inner else one.value)
            for one in self.arguments
            if one.keyword != "device"  # the caller's device counts, not the one of the source
        ]
        positional = [value for keyword, value in values if keyword is None]
        built = getattr(nn, self.kind)(*positional, **{k: value for k, value in values if k})
        assert isinstance(built, nn.Module)
        return built

    def with_unknown(self, number: int, inside: Callable[[Layer], Layer]) -> Layer:
        """Return it with `number` for its `?`, and inside(layer) for each layer in it."""
        arguments = []
        for one in self.arguments:
            new = replace(one, value=number, text=str(number)) if one.text == "?" else one
            arguments.append(replace(one, value=inside(one.inner)) if one.inner else new)
        return replace(self, arguments=tuple(arguments), layers=tuple(map(inside, self.layers)))

    def parameter(self) -> tuple[str, int, Argument | None]:
        """Return (name, dimension, argument) of what the input decides; ("", 0, None) if nothing."""
        name, dimension = _SIZES.get(self.kind.removeprefix("Lazy"), ("", 0))
        found = [one for one, parameter in _bound(self) if parameter == name] if name else []
        return name, dimension, found[0] if found else None


def numbered(layers: Sequence[Layer]) -> bool:
    """Return whether the names are those nn.Sequential gives: "0", "1", ..."""
    return all(one.name == str(i) for i, one in enumerate(layers))


def _sequential(layers: Sequence[Layer]) -> nn.Sequential:
    from collections import OrderedDict

    from torch import nn

    return nn.Sequential(OrderedDict((one.name, one.module()) for one in layers))


def build(layers: Sequence[Layer], device: str | torch.device = "meta") -> nn.Sequential:
    """Return the nn.Sequential of `layers`, with their names, on `device`; the weights are random.

    Raises UsageError where a `?` is left, or where a layer cannot be built there.
    """
    import warnings

    import torch

    try:
        with torch.device(device), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _sequential(layers)
    except UsageError:
        raise
    except Exception as error:  # no memory, no such device
        text = ", ".join(one.text for one in layers)
        raise UsageError(
            f"{one_line(text, 80)} cannot be built: {one_line(error, 160)}."
        ) from error


def source(layers: Sequence[Layer]) -> str:
    """Return code to paste: `nn.Sequential(...)`, one line a layer, no line break at its end.

    With names of your own it needs `from collections import OrderedDict`.
    """
    return "\n".join(_lines(layers, ""))


def _lines(layers: Sequence[Layer], indent: str) -> Iterator[str]:
    plain = numbered(layers)
    yield "nn.Sequential(" + ("" if plain else "OrderedDict([")
    for one in layers:
        head, tail = ("", ",") if plain else (f"({json.dumps(one.name)}, ", "),")
        nested = one.kind == "Sequential" and one.layers
        lines = list(_lines(one.layers, indent + "    ")) if nested else [one.render("nn.")]
        yield f"{indent}    {head}" + "\n".join(lines) + tail
    yield indent + (")" if plain else "]))")


def _parameters(kind: str) -> list[Parameter]:
    """Return the constructor's parameters, without self."""
    from inspect import signature

    from torch import nn

    if kind in ("RNN", "LSTM", "GRU"):  # their own signature is (*args, **kwargs)
        found = list(signature(nn.RNNBase).parameters.values())[1:]
        mode = signature(nn.RNNBase).parameters["mode"].replace(name="nonlinearity")
        return found if kind != "RNN" else [*found[:3], mode, *found[3:]]
    return list(signature(getattr(nn, kind)).parameters.values())


def _bound(layer: Layer) -> Iterator[tuple[Argument, str]]:
    """Yield each argument with the name of its parameter."""
    names = [one.name for one in _parameters(layer.kind)]
    for i, argument in enumerate(layer.arguments):
        yield argument, argument.keyword or (names[i] if i < len(names) else "")


def check(layer: Layer) -> None:
    """Raise UsageError where this one layer cannot be built, with what to write instead."""
    import warnings

    import torch

    where = one_line(layer.text, 80)
    names = [one.name for one in _parameters(layer.kind)]
    given: set[str] = set()
    for argument, name in _bound(layer):
        if argument.keyword and name not in names:
            close = suggestion(name, names) or f" It takes: {', '.join(names)}"
            raise UsageError(
                f"{where}: {layer.kind} has no argument '{one_line(name, 40)}'.{close}"
            )
        if name in given:
            raise UsageError(f"{where}: '{name}' is given twice; leave one out.")
        if argument.text == "?" and name != layer.parameter()[0]:
            raise UsageError(f"{where}: {_not_found(layer, name)}; write the number.")
        given |= {name} - {""}
    if _repeats(layer) > REPEATS:
        raise UsageError(f"{where}: more than {REPEATS} layers in one; write fewer.")
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _stand_in(layer).module()
    except UsageError:
        raise
    except Exception as error:  # whatever a constructor finds wrong
        reason = re.sub(r"^\w+(\.__init__)?\(\) ", "", one_line(error, 160)).rstrip(".")
        if isinstance(error, TypeError):
            reason += f"; it takes ({one_line(', '.join(names), 90)})"
        raise UsageError(f"{where} cannot be built: {reason}; correct it.") from error


def _not_found(layer: Layer, name: str) -> str:
    """Return why `?` cannot stand for the argument `name`."""
    known = layer.parameter()[0]
    if layer.kind in ("Embedding", "EmbeddingBag") and name == "num_embeddings":
        return "no shape tells the size of the vocabulary"
    if known:
        return f"`?` can stand for {known} only, and {name} is yours to choose"
    return f"nothing in {layer.kind} follows from its input's shape"


def _repeats(layer: Layer) -> int:
    """Return how many layers its num_layers (or the like) make of it and of those inside."""
    times = 1
    for argument, name in _bound(layer):
        if isinstance(argument.value, int) and re.fullmatch(r"num_(\w+_)?layers", name):
            times *= max(1, argument.value)
    inside = [one.inner for one in layer.arguments if one.inner]
    return times * max(1, sum(map(_repeats, (*inside, *layer.layers))))


def _stand_in(layer: Layer) -> Layer:
    """Return the layer with a number for each `?`: one that groups and heads divide."""
    given = {one.name: one.default for one in _parameters(layer.kind)}
    given |= {name: argument.value for argument, name in _bound(layer)}
    parts = [given.get(name) for name in ("groups", "num_groups", "num_heads", "nhead")]
    number = next((part for part in parts if isinstance(part, int)), 1)
    return layer.with_unknown(number, _stand_in)
