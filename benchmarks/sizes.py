"""How often `ptools shapes` and PyTorch disagree about a size, over random layers.

    python -m benchmarks.sizes [--configurations 100000] [--seed 0] [--device meta]

All operations, one to three dimensions, valid layers and such as PyTorch refuses. On the meta
device PyTorch computes shapes only; `--device cpu` computes the tensors too.
"""

from __future__ import annotations

import argparse
import random
import warnings
from collections import Counter
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from ptools.errors import UsageError
from ptools.tracing.sizes import OPERATIONS, POOLING, UNDILATED
from ptools_plugins.shapes.calculator import calculate

_KINDS = {
    "conv": "Conv",
    "maxpool": "MaxPool",
    "avgpool": "AvgPool",
    "lppool": "LPPool",
    "transpose": "ConvTranspose",
}


def configurations(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `count` random layers as the arguments of `calculate`; many do not fit their input."""
    draw = random.Random(seed)
    for _ in range(count):
        dims, op = draw.randint(1, 3), draw.choice(OPERATIONS)
        kernel = _sizes(draw, dims, 1, 7)
        yield {
            "size": _sizes(draw, dims, 1, draw.choice((6, 40, 40))),
            "kernel": kernel,
            "stride": draw.choice((None, _sizes(draw, dims, 1, 5))),
            "padding": _padding(draw, kernel, op),
            "dilation": None if op in UNDILATED else _sizes(draw, dims, 1, 3),
            "op": op,
            "ceil": op in POOLING and draw.random() < 0.5,
            "output_padding": _output_padding(draw, dims, op),
        }


def _sizes(draw: random.Random, dims: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(draw.randint(low, high) for _ in range(dims))


def _padding(draw: random.Random, kernel: tuple[int, ...], op: str) -> tuple[int, ...] | str | None:
    if op == "lppool" or draw.random() < 0.1:
        return None
    if op in ("conv", "transpose") and draw.random() < 0.1:
        return "same"
    if draw.random() < 0.3:
        return _sizes(draw, len(kernel), 0, 4)
    return tuple(draw.randint(0, k // 2) for k in kernel)  # all that pooling takes


def _output_padding(draw: random.Random, dims: int, op: str) -> tuple[int, ...] | None:
    return _sizes(draw, dims, 0, 3) if op == "transpose" and draw.random() < 0.5 else None


def pytorch(given: dict[str, Any], device: str = "meta") -> list[int] | None:
    """Return the size that PyTorch's own layer gives, or None where it refuses.

    A transposed convolution may give an empty tensor on some devices: that counts as refused. On meta,
    PyTorch before 2.15 does not ask whether its output_padding is too large: the CPU is asked.
    """
    import torch

    if given["output_padding"] is not None:
        device = "cpu"
    try:
        with torch.no_grad():
            out = _blocks(given, device) if given["op"] == "unfold" else _layer(given, device)
    except (RuntimeError, ValueError, TypeError):
        return None
    return out if min(out) > 0 else None


def _layer(given: dict[str, Any], device: str) -> list[int]:
    import torch
    from torch import nn

    op, dims = given["op"], len(given["size"])
    named = {"stride": given["stride"], "padding": given["padding"], "dilation": given["dilation"],
             "output_padding": given["output_padding"]}  # fmt: skip
    more = {name: value for name, value in named.items() if value is not None}
    if op in POOLING:
        more["ceil_mode"] = given["ceil"]
    else:
        more["device"] = device
    kernel = given["kernel"]
    if dims == 1 and op in UNDILATED:  # LPPool1d is annotated, and works, with one int
        kernel, more = kernel[0], {n: v[0] if isinstance(v, tuple) else v for n, v in more.items()}
    first = {"conv": (1, 1), "transpose": (1, 1), "lppool": (2,)}.get(op, ())
    layer = getattr(nn, f"{_KINDS[op]}{dims}d")(*first, kernel, **more)
    return list(layer(torch.ones(1, 1, *given["size"], device=device)).shape[2:])


def _blocks(given: dict[str, Any], device: str) -> list[int]:
    """Return nn.Unfold's L for every dimension as an image one element wide; it takes 2-D only."""
    import torch
    from torch import nn

    dims = len(given["size"])
    kernel, stride, padding, dilation = (
        value or (default,) * dims
        for value, default in (
            (given["kernel"], 1), (given["stride"], 1), (given["padding"], 0), (given["dilation"], 1),
        )
    )  # fmt: skip
    out = []
    for n, k, s, p, d in zip(given["size"], kernel, stride, padding, dilation, strict=True):
        layer = nn.Unfold((k, 1), (d, 1), (p, 0), (s, 1))
        out.append(layer(torch.ones(1, 1, n, 1, device=device)).shape[-1])
    if dims == 2:
        whole = nn.Unfold(kernel, dilation, padding, stride)(
            torch.ones(1, 1, *given["size"], device=device)
        )
        assert whole.shape[-1] == out[0] * out[1]
    return out


def ours(given: dict[str, Any]) -> list[int] | None:
    """Return the size that ptools gives, or None where it refuses."""
    try:
        out: list[int] = calculate(**given)["out"]
    except UsageError:
        return None
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="meta")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "Using padding='same'")  # slow for even kernels, not wrong
    asked: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    begun = perf_counter()
    for given in configurations(args.configurations, args.seed):
        expected, found, op = pytorch(given, args.device), ours(given), given["op"]
        asked[op] += 1
        refused[op] += expected is None
        if found != expected:
            wrong[op] += 1
            print(f"{given}: PyTorch {expected}, ptools {found}")
    print("| layer | configurations | PyTorch refuses | mismatches |")
    print("|---|---|---|---|")
    for op in OPERATIONS:
        print(f"| {op} | {asked[op]} | {refused[op]} | {wrong[op]} |")
    print(f"| all | {asked.total()} | {refused.total()} | {wrong.total()} |")
    print(f"\n{perf_counter() - begun:.1f} seconds")


if __name__ == "__main__":
    main()
