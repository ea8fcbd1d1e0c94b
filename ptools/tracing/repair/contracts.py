"""What a layer of torch.nn takes, held against what it got. The words are those of its constructor.

Source: the Shape and Input sections of the torch.nn documentation, one per class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Misfit:
    """Why a layer cannot take its input. `want` and `have` are sizes of dimension `dim`."""

    kind: str  # tuple, module, missing, dtype, device, rank, features, value, batch
    expected: str
    got: str  # without the shape, which the reader of the message sees first
    tensor: torch.Tensor | None = None
    dim: int | None = None
    want: int | None = None
    have: int | None = None
    parameter: str = ""  # of the constructor: in_features, num_channels, ...


def misfit(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Misfit | None:
    """Return why `module` cannot take these arguments, or None where its contract is kept."""
    values = [*args, *kwargs.values()]
    if not values or not type(module).forward.__module__.startswith("torch.nn"):
        return None  # a class of the user's, unless it inherits its forward()
    first = values[0]
    if isinstance(first, nn.Module):
        return Misfit("module", "a Tensor", f"the module {type(first).__name__} itself")
    if isinstance(first, (tuple, list)) and not isinstance(module, (nn.Sequential, nn.RNNBase)):
        return Misfit("tuple", "a Tensor", _kind(first))
    if isinstance(first, dict):
        return Misfit("tuple", "a Tensor", f"a dict with {', '.join(map(str, first))}")
    if first is None:
        return Misfit("missing", "a Tensor", "None")
    if not isinstance(first, torch.Tensor):
        return None
    if any(nn.parameter.is_lazy(p) for p in module.parameters()):
        return None
    if isinstance(module, nn.MultiheadAttention) and (found := _keys(module, values)):
        return found
    for kind, check in _CHECKS.items():
        if isinstance(module, kind):
            found = check(module, first)
            return found or _types(module, first)
    return _types(module, first)


def _kind(value: Any) -> str:
    """Return what a tuple is: a tuple of 2; torch.return_types.max of values and indices."""
    kind = type(value)
    if kind.__module__ == "torch.return_types":
        return f"torch.return_types.{kind.__name__}, a tuple of {len(value)}"
    return f"a {kind.__name__} of {len(value)}"


def _features(
    x: torch.Tensor, dim: int, want: int, parameter: str, words: str = ""
) -> Misfit | None:
    if x.dim() == 0 or x.shape[dim] == want:
        return None
    shape = f"[*, {want}]" if dim == -1 else f"[N, {want}" + ", *]"
    if x.dim() <= abs(dim):
        shape = f"[N, {want}]"
    text = f"{shape}   {words}{parameter}={want}"
    have = int(x.shape[dim])
    what = "channels" if parameter.startswith("num_") else "features"
    return Misfit("features", text, f"{have} {what}", x, dim, want, have, parameter)


def _rank(x: torch.Tensor, allowed: tuple[int, ...], form: str) -> Misfit | None:
    if x.dim() in allowed:
        return None
    ranks = " or ".join(f"{n}D" for n in allowed)
    return Misfit("rank", f"{form}   {ranks} input", f"{x.dim()}D input", x)


def _linear(module: Any, x: torch.Tensor) -> Misfit | None:
    return _features(x, -1, module.in_features, "in_features")


_SPACE = {1: "L", 2: "H, W", 3: "D, H, W"}


def _spatial(module: Any) -> int:
    """Return how many spatial dimensions a layer such as Conv2d or MaxPool2d has."""
    for n in (1, 2, 3):
        if any(f"{n}d" in kind.__name__ for kind in type(module).__mro__):
            return n
    return 0


def _conv(module: Any, x: torch.Tensor) -> Misfit | None:
    n = _spatial(module)
    channels = module.in_channels
    form = f"[N, {channels}, {_SPACE[n]}]"
    if found := _rank(x, (n + 2, n + 1), form):
        return found
    dim = 1 if x.dim() == n + 2 else 0
    if x.shape[dim] == channels:
        return _fits(module, x, n)
    have = int(x.shape[dim])
    words = f"{form}   {channels} channels (in_channels={channels})"
    got = f"{have} channel{'' if have == 1 else 's'}"
    return Misfit("features", words, got, x, dim - x.dim(), channels, have, "in_channels")


def _fits(module: Any, x: torch.Tensor, n: int) -> Misfit | None:
    """Check that the kernel is not larger than its padded input."""
    if getattr(module, "transposed", False) or isinstance(module.padding, str):
        return None
    kernel, padding = _all(module.kernel_size, n), _all(module.padding, n)
    dilation = _all(getattr(module, "dilation", 1), n)
    for size, k, p, d in zip(x.shape[-n:], kernel, padding, dilation, strict=True):
        span = d * (k - 1) + 1
        if size + 2 * p < span:
            least = "x".join([str(span - 2 * p)] * n)
            text = f"an input of at least {least}   kernel_size={k}, padding={p}"
            return Misfit(
                "small",
                text,
                "x".join(map(str, x.shape[-n:])),
                x,
                None,
                span - 2 * p,
                int(size),
                "kernel_size",
            )
    return None


def _all(value: Any, n: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (int(value),) * n


def _pool(module: Any, x: torch.Tensor) -> Misfit | None:
    n = _spatial(module)
    found = _rank(x, (n + 1, n + 2), f"[N, C, {_SPACE[n]}]")
    if found or not hasattr(module, "kernel_size"):
        return found
    return _fits(module, x, n) if hasattr(module, "padding") else None


def _batch_norm(module: Any, x: torch.Tensor) -> Misfit | None:
    n = _spatial(module)
    features = module.num_features
    if not n or isinstance(module, nn.modules.instancenorm._InstanceNorm):
        return None
    allowed = {1: (2, 3), 2: (4,), 3: (5,)}[n]
    form = f"[N, {features}]" if n == 1 else f"[N, {features}, {_SPACE[n]}]"
    if found := _rank(x, allowed, form):
        return found
    if x.shape[1] != features:
        return _features(x, 1 - x.dim(), features, "num_features")
    if module.training and x.numel() == features:
        text = "more than 1 value per channel in train mode"
        return Misfit("batch", text, f"1 ({int(x.shape[0])} sample)", x)
    return None


def _layer_norm(module: Any, x: torch.Tensor) -> Misfit | None:
    want = tuple(module.normalized_shape)
    if tuple(x.shape[-len(want) :]) == want:
        return None
    if len(want) == 1:
        return _features(x, -1, want[0], "normalized_shape")
    text = f"[*, {', '.join(map(str, want))}]   normalized_shape={want}"
    return Misfit("shape", text, "", x, parameter="normalized_shape")


def _group_norm(module: Any, x: torch.Tensor) -> Misfit | None:
    if x.dim() < 2:
        return _rank(x, (2, 3, 4), f"[N, {module.num_channels}, *]")
    return _features(x, 1 - x.dim(), module.num_channels, "num_channels")


def _rnn(module: Any, x: torch.Tensor) -> Misfit | None:
    layout = "[N, L, {}]" if module.batch_first else "[L, N, {}]"
    if found := _rank(x, (2, 3), layout.format(module.input_size)):
        return found
    return _features(x, -1, module.input_size, "input_size")


def _cell(module: Any, x: torch.Tensor) -> Misfit | None:
    return _features(x, -1, module.input_size, "input_size")


def _attention(module: Any, x: torch.Tensor) -> Misfit | None:
    return _rank(x, (2, 3), f"[N, L, {module.embed_dim}]") or _features(
        x, -1, module.embed_dim, "embed_dim"
    )


def _keys(module: nn.MultiheadAttention, values: list[Any]) -> Misfit | None:
    """Check the keys against kdim; the queries are checked against embed_dim."""
    key = values[1] if len(values) > 1 else None
    if not isinstance(key, torch.Tensor) or key.dim() == 0 or key.shape[-1] == module.kdim:
        return None
    if values[0].shape[-1] != module.embed_dim:
        return None
    want, have = module.kdim, int(key.shape[-1])
    return Misfit("keys", f"keys [*, {want}]   kdim={want}", f"keys of {have}", key, -1, want, have)


def _shuffle(module: nn.PixelShuffle, x: torch.Tensor) -> Misfit | None:
    square = module.upscale_factor**2
    if x.dim() < 3 or x.shape[-3] % square == 0:
        return None
    have = int(x.shape[-3])
    text = f"[N, C, H, W]   C divisible by {square} (upscale_factor={module.upscale_factor})"
    want = max(1, round(have / square)) * square
    return Misfit("features", text, f"{have} channels", x, x.dim() - 3, want, have)


def _encoder(module: Any, x: torch.Tensor) -> Misfit | None:
    return _attention(module.self_attn, x)


def _embedding(module: Any, x: torch.Tensor) -> Misfit | None:
    if x.dtype not in (torch.int64, torch.int32):
        return _dtype(x, "int64 token ids")
    if x.device.type != "cpu" or not x.numel():
        return None
    low, high, most = int(x.min()), int(x.max()), module.num_embeddings
    if low >= 0 and high < most:
        return None
    text = f"ids 0 to {most - 1}   num_embeddings={most}"
    return Misfit("value", text, f"ids {low} to {high}", x, None, most, high + 1, "num_embeddings")


def _dtype(x: torch.Tensor, expected: str) -> Misfit:
    return Misfit("dtype", expected, str(x.dtype).removeprefix("torch."), x)


def _types(module: nn.Module, x: torch.Tensor) -> Misfit | None:
    """Check data type and device against the layer's own weights."""
    weights = [p for p in module.parameters() if p.dtype.is_floating_point or p.dtype.is_complex]
    if not weights:
        return None
    want, device = weights[0].dtype, weights[0].device
    if x.dtype != want and not isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        name = str(want).removeprefix("torch.")
        return _dtype(x, f"{name}, as its weights")
    if x.device != device:
        if device.type == "meta":
            return Misfit(
                "device", f"weights on device {x.device}, as the input", f"weights on {device}", x
            )
        return Misfit("device", f"device {device}, as its weights", f"device {x.device}", x)
    return None


_CHECKS: dict[type[nn.Module], Callable[[Any, torch.Tensor], Misfit | None]] = {
    nn.Linear: _linear,
    nn.modules.conv._ConvNd: _conv,
    nn.modules.batchnorm._NormBase: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.RNNBase: _rnn,
    nn.RNNCellBase: _cell,
    nn.MultiheadAttention: _attention,
    nn.TransformerEncoderLayer: _encoder,
    nn.Embedding: _embedding,
    nn.EmbeddingBag: _embedding,
    nn.PixelShuffle: _shuffle,
    nn.modules.pooling._MaxPoolNd: _pool,
    nn.modules.pooling._AvgPoolNd: _pool,
    nn.modules.pooling._AdaptiveAvgPoolNd: _pool,
    nn.modules.pooling._AdaptiveMaxPoolNd: _pool,
}
