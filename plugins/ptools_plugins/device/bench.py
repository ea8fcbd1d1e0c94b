"""A one-second figure for a device: matrix products and memory bandwidth, the best of many runs.

    bench(device, seconds) -> Bench      imports torch; run it in a child: `run(paths, ...)`

GEMM: C = A B with square matrices, 2 n^3 operations. Copy: bytes read plus bytes written.
The best run is reported, as anything else on the machine can only slow a run down; the load
average is there to judge it by.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The best figures of one device; None where the device cannot do it."""

    device: str
    size: int  # the matrices are size x size
    fp32_gflops: float | None
    bf16_gflops: float | None
    copy_gbps: float | None  # GB/s, read plus write
    threads: int
    load: float | None  # 1-minute load average before the run
    seconds: float


def bench(device: str, seconds: float = 1.0) -> Bench:
    """Measure a device for about `seconds`: a third each for fp32, bf16 and copying."""
    import time

    import torch

    start, load = time.perf_counter(), _load()
    size = 1024 if device == "cpu" else 8192
    share = seconds / 3
    fp32 = _best(lambda: _gemm(torch, device, size, torch.float32), share, device)
    bf16 = _best(lambda: _gemm(torch, device, size, torch.bfloat16), share, device)
    copy = _best(lambda: _copy(torch, device), share, device)
    return Bench(
        device=device,
        size=size,
        fp32_gflops=fp32 and 2 * size**3 / fp32 / 1e9,
        bf16_gflops=bf16 and 2 * size**3 / bf16 / 1e9,
        copy_gbps=copy and 2 * _BYTES[device != "cpu"] / copy / 1e9,
        threads=torch.get_num_threads(),
        load=load,
        seconds=time.perf_counter() - start,
    )


_BYTES = (1 << 27, 1 << 30)  # 128 MiB on a CPU, beyond its caches; 1 GiB on a GPU


def _gemm(torch: Any, device: str, size: int, dtype: Any) -> Callable[[], object]:
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out)


def _copy(torch: Any, device: str) -> Callable[[], object]:
    source = torch.zeros(_BYTES[device != "cpu"], dtype=torch.uint8, device=device)
    target = torch.empty_like(source).fill_(1)  # written once, so that no page is new
    return lambda: target.copy_(source)


def _best(prepare: Callable[[], Callable[[], object]], seconds: float, device: str) -> float | None:
    """Return the shortest run in seconds; None where the device refuses (dtype, memory)."""
    import time

    try:
        work = prepare()
        _timed(work, device)  # the first run pays for starting threads and kernels
        end, best = time.perf_counter() + seconds, float("inf")
        while True:
            best = min(best, _timed(work, device))
            if time.perf_counter() > end:
                return best
    except RuntimeError:
        return None


def _timed(work: Callable[[], object], device: str) -> float:
    import time

    import torch

    start = time.perf_counter()
    work()
    if device != "cpu":
        getattr(torch, device).synchronize()  # a GPU only queues the work
    return time.perf_counter() - start


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows
        return None


def run(device: str, paths: Sequence[str], *, seconds: float = 1.0, timeout: float = 120) -> Bench:
    """Measure in a child process; raises PtoolsError where it fails."""
    import subprocess

    from ptools.errors import PtoolsError, one_line

    command = [sys.executable, "-P", __file__, device, str(seconds), *paths]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise PtoolsError(
            f"The benchmark took over {timeout:g} s; try a longer --timeout."
        ) from None
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
        raise PtoolsError(f"The benchmark on {device} failed: {one_line(last)}")
    return Bench(**json.loads(ran.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.path[:] = sys.argv[3:]
    print(json.dumps(asdict(bench(sys.argv[1], float(sys.argv[2])))))
