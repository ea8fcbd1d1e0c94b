"""What `ptools quantize` costs on the 54 weights of a ResNet-50, beside the same table made with torch.

    python -m benchmarks.quantize [--repeats 3]

CPU time of whole processes, interleaved, medians. The script with torch does what the command does by
default: symmetric and affine, per channel, min-max, SQNR and largest error of every weight.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Case, interleaved

SCRIPT = """
import sys, torch

def quantised(weight, low, high, symmetric):
    if symmetric:
        scale = torch.maximum(-low, high) / 127
        zero = torch.zeros(len(scale), dtype=torch.int32)
    else:
        scale = (high - low) / 255
        zero = (-128 - torch.round(low / scale)).clamp(-128, 127).int()
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127 if symmetric else -128, 127)

rows = []
for name, weight in torch.load(sys.argv[1], mmap=True, weights_only=True).items():
    if weight.dim() > 1:
        flat = weight.flatten(1)
        low, high = flat.amin(1).clamp(max=0), flat.amax(1).clamp(min=0)
        row = [name]
        for symmetric in (True, False):
            error = quantised(weight, low, high, symmetric) - weight
            ratio = weight.double().square().sum() / error.double().square().sum()
            row += [float(10 * ratio.log10()), float(error.abs().max())]
        rows.append(row)
for row in sorted(rows, key=lambda row: row[1]):
    print(*row)
"""
TORCH = "the same with torch, a script"


def cases(file: Path) -> dict[str, Case]:
    """Return the commands, on the checkpoint `file`."""
    python = sys.executable
    ours = [python, "-m", "ptools", "quantize"]
    one = {"OMP_NUM_THREADS": "1"}
    return {
        'ptools quantize "0.1 -1.2 3.4"': Case([*ours, "0.1 -1.2 3.4"], one),
        "ptools quantize resnet50.pth": Case([*ours, str(file)], one),
        "ptools quantize resnet50.pth --range mse": Case([*ours, str(file), "--range", "mse"], one),
        TORCH: Case([python, "-c", SCRIPT, str(file)], one),
        "import torch": Case([python, "-c", "import torch"], one),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    import torch
    import torchvision

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "resnet50.pth")
        torch.save(torchvision.models.resnet50().state_dict(), file)
        costs = interleaved(cases(file), args.repeats)
    print("| command | CPU s | times `import torch` |")
    print("|---|---|---|")
    for label, cost in costs.items():
        print(f"| `{label}` | {cost.cpu:.2f} | {cost.cpu / costs['import torch'].cpu:.2f} |")


if __name__ == "__main__":
    main()
