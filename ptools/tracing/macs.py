"""How many multiply-accumulates an operation takes. 1 MAC = 2 FLOPs.

counted    matrix products, convolutions, attention: by the formulas of torch.utils.flop_counter, and ours
free       moves data, or is elementwise, a reduction, pooling, normalisation, interpolation: 0, as
           in the figures that papers and torchvision publish
unknown    everything else (FFT, linear algebra, custom operators): listed, never silently zero
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

_FREE_WORDS = """
_adaptive_avg_pool2d _adaptive_avg_pool3d _assert_async _assert_scalar _assert_tensor_metadata
_batch_norm_with_update _chunk_cat _conj _conj_physical _cummax_helper _cummin_helper _embedding_bag
_embedding_bag_forward_only _foreach_norm _functional_assert_async _fused_rms_norm _fw_primal
_has_same_storage_numel _histogramdd_bin_edges _histogramdd_from_bin_cts
_histogramdd_from_bin_tensors _indices _is_all_true _is_any_true _linalg_check_errors
_local_scalar_dense _log_softmax _log_softmax_backward_data _native_batch_norm_legit
_native_batch_norm_legit_no_training _neg_view _nested_tensor_size _pack_padded_sequence
_pad_packed_sequence _prelu_kernel _reshape_alias _resize_output_ _safe_softmax _softmax
_softmax_backward_data _thnn_differentiable_gru_cell_backward _to_copy _to_sparse _unique2
_unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate
_unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d
_upsample_nearest_exact2d _upsample_nearest_exact3d _values _weight_norm_interface
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d addr affine_grid_generator alias all
allclose amax amin aminmax any arange argmax argmin argsort as_strided as_strided_
as_strided_scatter avg_pool1d avg_pool2d avg_pool3d bernoulli bernoulli_ binary_cross_entropy
binary_cross_entropy_with_logits bincount block_diag broadcast_tensors bucketize cat cauchy_
channel_shuffle chunk clone col2im complex constant_pad_nd contiguous copy_ count_nonzero
cross_entropy_loss cummax cummin cumprod cumsum cumsum_ detach diag diag_embed diagonal
diagonal_scatter dist dropout embedding embedding_dense_backward embedding_renorm_ empty empty_like
empty_permuted empty_strided equal expand exponential_ eye fill fill_ flatten flip floor_divide
fmod_ fractional_max_pool2d fractional_max_pool3d full full_like gather geometric_ glu
grid_sampler_2d grid_sampler_3d hardswish hardswish_ hash_tensor histc histogram huber_loss im2col
index index_add index_add_ index_copy index_copy_ index_fill index_fill_ index_put index_put_
index_reduce index_select is_same_size isfinite isin item kthvalue lift lift_fresh linalg_cross
linalg_vector_norm linspace log_normal_ log_sigmoid_forward logcumsumexp logspace logsumexp
lu_unpack masked_scatter masked_scatter_ masked_select max max_pool2d_with_indices
max_pool3d_with_indices max_unpool2d max_unpool3d mean median min mish mode mse_loss
multi_margin_loss multilabel_margin_loss_forward multinomial nanmedian nansum narrow
native_batch_norm native_channel_shuffle native_dropout native_group_norm native_layer_norm
new_empty new_empty_strided new_full new_ones new_zeros nll_loss2d_forward nll_loss_forward nonzero
nonzero_static norm normal normal_ normal_functional one_hot ones ones_like permute pixel_shuffle
pixel_unshuffle polar pow prod put rand rand_like randint randint_like randn randn_like random
random_ randperm reflection_pad1d reflection_pad2d reflection_pad3d renorm repeat repeat_interleave
replication_pad1d replication_pad2d replication_pad3d reshape resize_ resize_as_ resolve_conj
resolve_neg rms_norm roll rot90 rrelu_with_noise rrelu_with_noise_functional scalar_tensor scatter
scatter_ scatter_add scatter_add_ scatter_reduce scatter_reduce_ searchsorted segment_reduce select
select_backward select_scatter set_ slice slice_scatter smooth_l1_loss soft_margin_loss sort split
split_with_sizes squeeze squeeze_ stack std std_mean sum sym_numel sym_size sym_storage_offset
sym_stride t t_ take tensor_split threshold_ to topk trace transpose transpose_ tril tril_indices
triu triu_indices trunc_normal_ unbind unfold uniform uniform_ unique_consecutive unique_dim
unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze unsqueeze_ upsample_bicubic2d
upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
upsample_trilinear3d var var_mean view view_as view_as_complex view_as_real where zero_ zeros
zeros_like
"""
_FREE = frozenset(_FREE_WORDS.split())
_FREE_ELSEWHERE = {
    "torchvision::nms", "torchvision::roi_align", "torchvision::roi_pool",
    "torchvision::ps_roi_align", "torchvision::ps_roi_pool",
}  # fmt: skip

Count = Callable[..., int]


def _rows(matrix: Any, vector: Any, *_: Any, **__: Any) -> int:
    return int(matrix.numel())


def _addmv(bias: Any, matrix: Any, vector: Any, *_: Any, **__: Any) -> int:
    return int(matrix.numel())


def _cdist(x: Any, y: Any, *_: Any, out_val: Any, **__: Any) -> int:
    return int(prod(out_val.shape)) * int(x.shape[-1])


def _pdist(x: Any, *_: Any, out_val: Any, **__: Any) -> int:
    return int(prod(out_val.shape)) * int(x.shape[-1])


def _products(total: Any, left: Any, right: Any, *_: Any, **__: Any) -> int:
    """Count total + left @ right, with or without a batch in front."""
    return int(prod(left.shape)) * int(right.shape[-1])


def _product(left: Any, right: Any, *_: Any, **__: Any) -> int:
    return int(prod(left.shape)) * int(right.shape[-1])


def _time_first(x: Any, weight: Any, *_: Any, out_val: Any, **__: Any) -> int:
    return int(prod(out_val.shape)) * int(prod(weight.shape[:2]))  # (kernel, in, out)


def _deformable(x: Any, weight: Any, *_: Any, out_val: Any, **__: Any) -> int:
    return int(prod(out_val.shape)) * int(prod(weight.shape[1:]))


def _trilinear(x: Any, weight: Any, y: Any, *expand: Any, out_val: Any, **__: Any) -> int:
    """Bilinear(i, j, k) on n pairs: n*i*j*k, the size all three factors are broadcast to."""
    shapes = []
    for shape, places in zip((x.shape, weight.shape, y.shape), expand[:3], strict=True):
        sizes = list(shape)
        for place in places:
            sizes.insert(place, 1)
        shapes.append(torch.Size(sizes))
    return prod(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Of query (B, H, L, E), key (B, G, S, E), value (B, G, S, V): both products."""
    return int(query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1]))


_OWN: dict[str, Count] = {
    # newer releases of torch.utils.flop_counter know these two as well
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
    "aten::mv": _rows,
    "aten::dot": _rows,
    "aten::vdot": _rows,
    "aten::addmv": _addmv,
    "aten::addmv_": _addmv,
    "aten::_trilinear": _trilinear,
    "aten::_cdist_forward": _cdist,
    "aten::_pdist_forward": _pdist,
    "aten::addmm_": _products,
    "aten::addbmm": _products,
    "aten::addbmm_": _products,
    "aten::baddbmm_": _products,
    "aten::_int_mm": _product,
    "aten::conv_tbc": _time_first,
    "aten::_euclidean_dist": _cdist,
    "torchvision::deform_conv2d": _deformable,
}
_kinds: dict[Any, Count | bool] = {}  # operation -> its formula; True: free; False: unknown


def zeros(func: Any, args: Any) -> torch.Tensor | None:
    """Return the zeros that a convolution or product with zero weights gives; None where it is neither.

    A model that decides by its data runs on the CPU with zero weights: most of its time is saved.
    """
    if func is _CONVOLUTION:
        weight, bias = args[1], args[2]
    elif func is _ADDMM:
        bias, weight = args[0], args[2]
    else:
        return None
    if weight.device.type != "cpu" or not weight.is_floating_point():
        return None
    if weight.norm() or (bias is not None and bias.norm()):  # 30 times as fast as any()
        return None
    shape = func(*(a.to("meta") if isinstance(a, torch.Tensor) else a for a in args))
    return torch.zeros_like(shape, device="cpu")


_CONVOLUTION = torch.ops.aten.convolution.default
_ADDMM = torch.ops.aten.addmm.default


def kind(func: Any) -> Count | bool:
    """Return the formula of an operation (an OpOverload), True where it is free, False if unknown."""
    known = _kinds.get(func)
    if known is None:
        known = _kinds[func] = _kind(func)
    return known


def _kind(func: Any) -> Count | bool:
    packet = func._overloadpacket
    if packet in flop_registry:
        formula = flop_registry[packet]
        return lambda *args, **kwargs: int(formula(*args, **kwargs)) // 2
    name = packet._qualified_op_name
    if name in _OWN:
        return _OWN[name]
    if func.is_view or torch.Tag.pointwise in func.tags or name in _FREE_ELSEWHERE:
        return True
    space, _, base = name.partition("::")
    if space not in ("aten", "prim", "prims"):
        return False
    plain = base.removesuffix("_").removesuffix("_copy").removesuffix("_backward")
    return base in _FREE or plain in _FREE or base.startswith("_nested_") or _pointwise(plain)


def _pointwise(name: str) -> bool:
    """Return whether an operation is elementwise: masked_fill, for masked_fill_."""
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        return False
    return any(torch.Tag.pointwise in getattr(packet, o).tags for o in packet.overloads())
