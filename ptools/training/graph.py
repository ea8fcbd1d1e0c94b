"""The graph of a network, for TensorBoard: traced once, on a copy, without touching anything.

graph(net, shape)   the GraphDef, serialised; None where the network cannot be traced
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["graph"]

_MOST = 20_000_000  # parameters: of more, a copy and a forward pass take seconds


def graph(net: nn.Module, shape: tuple[int, int, int]) -> bytes | None:
    """Return what `net` does with one image of `shape` (C, H, W), as torch.jit.trace sees it.

    None where it cannot be traced, which is no fault of a network, and where it is so large that
    tracing would take seconds.
    """
    import copy
    import warnings
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    import torch

    if sum(p.numel() for p in net.parameters()) > _MOST:
        return None
    quiet = StringIO()  # the tracer prints its failures, and the model may print as well
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(quiet),
            redirect_stderr(quiet),
            torch.random.fork_rng(devices=[]),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            twin = copy.deepcopy(net).cpu().float().eval()
            return _traced(twin, torch.zeros(1, *shape))
    except Exception:  # the model is the user's code
        return None


def _traced(net: nn.Module, image: Tensor) -> bytes:
    """Do as torch.utils.tensorboard does, without its trial of the trace: that imports sympy, 0.4 s."""
    import torch
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.versions_pb2 import VersionDef
    from torch.utils.tensorboard._pytorch_graph import parse

    trace: Any = torch.jit.trace(net, image, strict=False, check_trace=False)  # type: ignore[no-untyped-call]
    inlined = trace.graph
    torch._C._jit_pass_inline(inlined)
    nodes = parse(inlined, trace, image)  # type: ignore[no-untyped-call]
    return bytes(GraphDef(node=nodes, versions=VersionDef(producer=22)).SerializeToString())
