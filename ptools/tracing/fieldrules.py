"""What each ATen operator does to the fields of its inputs: the table at the end, by operator.

The rules that only move elements about are in `ptools.tracing.fieldmoves`; here is what computes.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import torch

from ptools.tracing import fieldmoves as moves
from ptools.tracing import fieldreads as reads
from ptools.tracing.fieldmoves import Call, Rule, Unknown, each
from ptools.tracing.fieldreads import EMPTY, Reads
from ptools.tracing.fieldstate import (
    Atom,
    State,
    along,
    joined,
    length,
    mixed,
    plain,
    resized,
    windowed,
)


def _last(state: State, rank: int) -> range:
    return range(len(state.dims) - rank, len(state.dims))


def elementwise(call: Call) -> State:
    """Each element of the output is made from one element of each input (broadcast)."""
    tensors = [value for value in call.arguments.values() if isinstance(value, torch.Tensor)]
    if not call.states.keys() <= {id(tensor) for tensor in tensors}:
        raise Unknown
    return joined([call.of(tensor) for tensor in tensors], call.shape)


def _same(call: Call) -> State:
    return call.first()


def _copy(call: Call) -> State:
    return joined([call.of(call["src"])], call.shape)


def _fill(call: Call) -> State:
    call.first()  # nothing else may depend on the image
    return plain(call.shape, (EMPTY,) * call.axes)


def _convolution(call: Call) -> State:
    weight = call["weight"]
    rank = weight.dim() - 2
    state = resized(call.first(), 1, call.shape[1])
    stride, padding, dilation = (each(call[k], rank) for k in ("stride", "padding", "dilation"))
    kind = reads.transposed if call["transposed"] else reads.window

    def slide(i: int, before: int, after: int) -> Reads:
        return kind(weight.shape[2 + i], stride[i], padding[i], dilation[i])

    return along(state, range(2, 2 + rank), slide, call.shape[2:])


def _pool(rank: int, call: Call) -> State:
    kernel = each(call["kernel_size"], rank)
    stride = each(call.get("stride") or kernel, rank)
    padding = each(call.get("padding", 0), rank)
    dilation = each(call.get("dilation", 1), rank)

    def slide(i: int, before: int, after: int) -> Reads:
        return reads.window(kernel[i], stride[i], padding[i], dilation[i])

    state = call.first()
    return along(state, _last(state, rank), slide, call.shape[-rank:])


def _adaptive(rank: int, call: Call) -> State:
    state = call.first()
    for d, size in zip(_last(state, rank), call.shape[-rank:], strict=True):
        if size == 1:
            state = resized(state, d, size)
        else:
            state = windowed(state, d, reads.adaptive(length(state.dims[d]), size), size)
    return state


def _interpolate(rank: int, mode: str, call: Call) -> State:
    scales = [value for name, value in call.arguments.items() if name.startswith("scales")]
    corners = bool(call.get("align_corners", False))

    def slide(i: int, before: int, after: int) -> Reads:
        scale = scales[i] if i < len(scales) else None
        ratio = Fraction(before, after)
        if corners:
            ratio = Fraction(before - 1, after - 1) if after > 1 else Fraction(0)
        elif scale and before * scale != after:
            ratio = 1 / Fraction(scale).limit_denominator(1000)
        return reads.resized(mode, ratio, corners)

    state = call.first()
    return along(state, _last(state, rank), slide, call.shape[-rank:])


def _pad(call: Call) -> State:
    pads = call.get("pad") or call["padding"]
    before = list(reversed(pads[::2]))  # given from the last dimension backwards
    state = call.first()
    dims = _last(state, len(before))
    return along(
        state, dims, lambda i, _, __: reads.shifted(-before[i]), [call.shape[d] for d in dims]
    )


def _channels(call: Call) -> State:
    """Channels change places, or pair up into half as many (glu)."""
    state = call.first()
    d = call.get("dim", 1 if "groups" in call.arguments else -1) % len(state.dims)
    return resized(state, d, call.shape[d])


def _mix(call: Call) -> State:
    state = call.first()
    return mixed(state, *call.dims("dim", len(state.dims)))


def _reduce(call: Call) -> State:
    if "other" in call.arguments:  # max(a, b)
        return elementwise(call)
    state = call.first()
    rank = len(state.dims)
    dims = call.dims("dim", rank)
    state = mixed(state, *dims)
    if call.get("keepdim", False):
        return State(
            tuple((Atom(1),) if d in dims else x for d, x in enumerate(state.dims)), state.base
        )
    return State(tuple(x for d, x in enumerate(state.dims) if d not in dims), state.base)


def _matmul(one: str, other: str, call: Call) -> State:
    """(..., n, k) x (..., k, m): an element sees a row of the one and a column of the other."""
    a, b = call.of(call[one]), call.of(call[other])
    rank = len(a.dims)
    if id(call[one]) in call.states and id(call[other]) in call.states:  # attention
        a, b = mixed(a, rank - 2), mixed(b, rank - 1)
    a = resized(mixed(a, rank - 1), rank - 1, call.shape[-1])
    b = resized(mixed(b, rank - 2), rank - 2, call.shape[-2])
    added = [call.of(call["self"])] if one != "self" else []
    return joined([a, b, *added], call.shape)


def _linear(call: Call) -> State:
    state = call.first()
    return resized(state, len(state.dims) - 1, call.shape[-1])


def _attention(call: Call) -> State:
    """Each element sees all tokens and channels of its batch and head."""
    states = [call.of(call[name]) for name in ("query", "key", "value")]
    mask = call.get("attn_mask", call.get("attn_bias"))
    if mask is not None and id(mask) in call.states:
        raise Unknown
    rank, sizes = len(call.shape), call.shape[-2:]
    for i, d in enumerate((rank - 2, rank - 1)):
        states = [resized(state, d, sizes[i]) for state in states]
    return joined(states, call.shape)


# Elementwise operators that ATen does not tag as such.
_ELEMENTWISE = (
    "_to_copy alias detach lift lift_fresh contiguous hardswish _prelu_kernel native_dropout dropout"
    " rrelu_with_noise bernoulli"
)
# A normalisation's statistics are taken to not extend the field.
_NORMS = (
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm"
    " miopen_batch_norm _batch_norm_with_update _batch_norm_no_update native_layer_norm"
    " native_group_norm _fused_rms_norm"
)
_REDUCTIONS = (
    "mean sum nansum amax amin max min argmax argmin prod var std var_mean std_mean any all logsumexp"
    " linalg_vector_norm norm median mode count_nonzero"
)
_MIXING = "_softmax _log_softmax _safe_softmax cumsum cumprod logcumsumexp sort softmax log_softmax"
_VIEWS = "view _unsafe_view reshape _reshape_alias squeeze unsqueeze flatten unflatten"
_SPLITS = "split split_with_sizes unsafe_split unsafe_split_with_sizes chunk unsafe_chunk"
_SDPA = (
    "scaled_dot_product_attention _scaled_dot_product_flash_attention"
    " _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_efficient_attention"
    " _scaled_dot_product_cudnn_attention _scaled_dot_product_attention_math"
    " _scaled_dot_product_fused_attention_overrideable"
)


def _many(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


def _interpolations() -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for n in (1, 2, 3):
        found[f"upsample_nearest{n}d"] = partial(_interpolate, n, "nearest")
        found[f"_upsample_nearest_exact{n}d"] = partial(_interpolate, n, "nearest-exact")
    for mode, n in (("linear", 1), ("bilinear", 2), ("trilinear", 3), ("bicubic", 2)):
        found[f"upsample_{mode}{n}d"] = partial(_interpolate, n, mode)
        found[f"_upsample_{mode}{n}d_aa"] = partial(_interpolate, n, f"{mode}-aa")
    return found


RULES: dict[str, Rule] = {
    **_many(_ELEMENTWISE, elementwise), **_many(_NORMS, _same), **_many(_REDUCTIONS, _reduce),
    **_many(_MIXING, _mix), **_many(_VIEWS, moves.view), **_many(_SPLITS, moves.split),
    **_many(_SDPA, _attention), **_interpolations(),
    **{f"{kind}_pool{n}d{rest}": partial(_pool, n) for n in (1, 2, 3)
       for kind, rest in (("max", ""), ("max", "_with_indices"), ("avg", ""))},
    **{f"{kind}{n}d": partial(_adaptive, n) for n in (1, 2, 3)
       for kind in ("_adaptive_avg_pool", "adaptive_avg_pool", "adaptive_max_pool")},
    **{f"{kind}_pad{n}d": _pad for n in (1, 2, 3) for kind in ("reflection", "replication")},
    "constant_pad_nd": _pad, "convolution": _convolution, "linear": _linear,
    "mm": partial(_matmul, "self", "mat2"), "bmm": partial(_matmul, "self", "mat2"),
    "addmm": partial(_matmul, "mat1", "mat2"), "baddbmm": partial(_matmul, "batch1", "batch2"),
    "roll": moves.roll, "flip": moves.flip, "slice": moves.slice_, "select": moves.select,
    "unbind": moves.unbind, "cat": moves.cat, "stack": moves.stack, "permute": moves.permute,
    "transpose": moves.transpose, "t": moves.transpose, "numpy_T": moves.transpose,
    "expand": moves.expand, "repeat": moves.repeat,
    "pixel_shuffle": partial(moves.shuffle, True),
    "pixel_unshuffle": partial(moves.shuffle, False),
    **_many("channel_shuffle native_channel_shuffle glu", _channels),
    "copy_": _copy, "copy": _copy, **_many("fill_ zero_ uniform_ normal_ bernoulli_", _fill),
}  # fmt: skip
# What these return has the shape of their input, and nothing else of it.
SHAPE_ONLY = frozenset(
    f"{before}{what}{after}"
    for before, after in (("new_", ""), ("", "_like"))
    for what in ("empty", "zeros", "ones", "full", "rand", "randn", "randint", "empty_strided")
)
