"""A frozen network as it runs fastest: every BatchNorm that only scales is part of the convolution before it.

folded(net, tail, image)   a network that returns the same, up to the last bits

The network itself is left as it is: what is folded are copies, everything else is shared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ptools.training.tail import Tail, features

__all__ = ["folded"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded(
    net: nn.Module, tail: Tail, image: Tensor, dtype: torch.dtype | None = None
) -> nn.Module:
    """Return a network with the features of `net`, which is in eval mode, and less to compute.

    `net` itself where nothing can be folded: what torch.fx cannot trace, hooks, weights that are
    computed from others, a convolution that somebody else asks as well. `image` is (1, C, H, W): on it
    both are compared. `dtype` is that of mixed precision: the folded weights have it already, and
    need not be cast for every batch.
    """
    if any(_hooked(module) for module in net.modules()):
        return net
    try:
        graph = _Tracer(tail.names).trace(net)
        twin = fx.GraphModule(net, graph)
    except Exception:  # the forward is the user's code, and may do what no graph can say
        return net
    found = _fold(twin)
    if not found or not _alike(net, twin, tail, image):
        return net
    for name in found if dtype else ():
        twin.get_submodule(name).to(dtype)
    return twin.eval()


class _Tracer(fx.Tracer):
    """Traces a network with its tail left as the modules that it is made of."""

    def __init__(self, leaves: Collection[str]) -> None:
        super().__init__()
        self.leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        inside = module_qualified_name in self.leaves
        return inside or super().is_leaf_module(m, module_qualified_name)


def _fold(twin: fx.GraphModule) -> list[str]:
    """Put each BatchNorm into the convolution whose outputs it gets alone; return the names of these."""
    modules = dict(twin.named_modules())
    nodes = [node for node in twin.graph.nodes if node.op == "call_module"]
    calls = Counter(id(modules[str(node.target)]) for node in nodes)
    found = []
    for node in nodes:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        name = str(before.target)
        layer, norm = modules[name], modules[str(node.target)]
        if calls[id(layer)] > 1 or not _foldable(layer, norm):
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(twin.get_submodule(parent), leaf, fuse_conv_bn_eval(layer, norm))
        node.replace_all_uses_with(before)
        twin.graph.erase_node(node)
        found.append(name)
    twin.recompile()
    return found


def _foldable(layer: nn.Module, norm: nn.Module) -> bool:
    """Is it a plain convolution, and a BatchNorm that uses the statistics that it has?"""
    return (
        type(layer) in _CONVOLUTIONS
        and type(norm) in _NORMS
        and not norm.training
        and getattr(norm, "running_mean", None) is not None
    )


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _alike(net: nn.Module, twin: nn.Module, tail: Tail, image: Tensor) -> bool:
    """Do both make the same features of an image?"""
    try:
        with torch.no_grad():
            one, other = features(net, tail)(image), features(twin, tail)(image)
    except Exception:  # the same code, run as a graph
        return False
    return one.shape == other.shape and torch.allclose(
        one, other, rtol=1e-3, atol=1e-5 * max(1.0, float(one.abs().max()))
    )
