"""The graph of a network, for TensorBoard: traced once, on a copy, without touching anything.

graph(net, shape)   the GraphDef, serialised; None where the network cannot be traced
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

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
            from torch.utils.tensorboard._pytorch_graph import graph as traced

            twin = copy.deepcopy(net).cpu().float().eval()
            one = torch.zeros(1, *shape)
            found, _ = traced(twin, one, use_strict_trace=False)  # type: ignore[no-untyped-call]
            return bytes(found.SerializeToString())
    except Exception:  # the model is the user's code
        return None
