"""Networks whose MACs and parameters are known: a LLaMA-like stack and small ones, by formulas, and
those that torchvision publishes figures for.

    ptools shapes --model benchmarks/llama.py:Llama --in 128:int64:32000
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Causal self-attention with rotated queries and keys, no biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, T, size)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        y = F.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True)
        out: Tensor = self.o_proj(y.transpose(1, 2).flatten(2))
        return out


def rotated(x: Tensor) -> Tensor:
    """Return rotary position embeddings of (..., T, size): elementwise, no MACs."""
    length, size = x.shape[-2:]
    rates = 10_000.0 ** (-torch.arange(0, size, 2, device=x.device) / size)
    angles = torch.arange(length, device=x.device)[:, None] * rates
    cos, sin = (torch.cat((part, part), -1).to(x.dtype) for part in (angles.cos(), angles.sin()))
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.input_norm, self.norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width, heads)
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.input_norm(x))
        y = self.norm(x)
        return x + self.down_proj(F.silu(self.gate_proj(y)) * self.up_proj(y))  # type: ignore[no-any-return]


class Llama(nn.Module):
    """The sizes of LLaMA-7B (Touvron et al., 2023): 27 GB of float32 weights."""

    def __init__(
        self, width: int = 4096, heads: int = 32, hidden: int = 11008, layers: int = 32,
        tokens: int = 32000,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.layers = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(64, 128, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.lstm(x)[0][:, -1])
        return logits


class Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(64, 128, num_layers=2, batch_first=True)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.gru(x)[0][:, -1])
        return logits


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(x).mean(1))
        return logits


class Functional(nn.Module):
    """Bare parameters, functions and einsum, a layer used twice and one not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(16, 3, 3, 3))
        self.mix = nn.Parameter(torch.zeros(16, 16))
        self.classify = nn.Parameter(torch.zeros(10, 16))
        self.twice = nn.Linear(16, 16)
        self.unused = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = F.conv2d(x, self.kernel, padding=1).relu()
        x = torch.einsum("nchw,cd->ndhw", x, self.mix).mean((2, 3))
        y = self.twice(self.twice(x).relu())
        return {"logits": F.linear(y, self.classify), "features": (x, y)}


# (what it is called, the model as `ptools shapes` takes it, its input, MACs, parameters)
Known = tuple[str, str, str, float, int]


def known() -> list[Known]:
    """Return every model of known cost: torchvision's by group, then those of this file."""
    return [
        *sorted(_published()),
        _recurrent("LSTM", "Lstm", gates=4, sides=2),
        _recurrent("GRU", "Gru", gates=3, sides=1),
        _encoder(),
        _functional(),
        _llama(),
    ]


def _published() -> set[Known]:
    """Return what torchvision publishes with its weights: GMACs to three decimals."""
    from torchvision import models

    found = set()
    groups = {"classification": models, "video": models.video, "segmentation": models.segmentation}
    for group, module in groups.items():
        for name in models.list_models(module=module):
            for weights in models.get_model_weights(name):
                model, given = _call(
                    group, name, getattr(weights.transforms(), "crop_size", [520])[0]
                )
                meta = weights.meta
                found.add((group, model, given, meta["_ops"] * 1e9, meta["num_params"]))
    return found


def _call(group: str, name: str, size: int) -> tuple[str, str]:
    if group == "video":
        return name, f"3x16x{size}x{size}"  # 16 frames
    if group == "segmentation":  # the weights have a second head, but for one model
        return name if name.startswith("lraspp") else f"{name}(aux_loss=True)", "3x520x520"
    resized = name.startswith("vit_") and size != 224
    return f"{name}(image_size={size})" if resized else name, f"3x{size}x{size}"


def _recurrent(label: str, name: str, gates: int, sides: int) -> Known:
    steps, size, width, head = 50, 64, 128, sides * 128 * 10
    weights = sum(sides * gates * width * (n + width) for n in (size, sides * width))
    biases = 2 * sides * gates * width * 2 + 10
    return (
        label,
        f"{__file__}:{name}",
        f"{steps}x{size}",
        steps * weights + head,
        weights + biases + head,
    )


def _encoder() -> Known:
    tokens, width, hidden, layers, head = 64, 256, 1024, 4, 2560
    weights = 4 * width**2 + 2 * width * hidden
    biases = 9 * width + hidden  # of attention and the two linear layers; two normalisations
    macs = layers * (tokens * weights + 2 * tokens**2 * width) + head
    params = layers * (weights + biases) + head + 10
    return "transformer encoder", f"{__file__}:Encoder", f"{tokens}x{width}", macs, params


def _functional() -> Known:
    kernel, mix, head, layer = 16 * 27, 16**2, 160, 16**2
    macs = 32**2 * (kernel + mix) + 2 * layer + head
    params = kernel + mix + head + 2 * (layer + 16)
    return "functional model", f"{__file__}:Functional", "3x32x32", macs, params


def _llama() -> Known:
    tokens, width, hidden, layers, words = 128, 4096, 11008, 32, 32000
    weights = layers * (4 * width**2 + 3 * width * hidden) + words * width
    attention = layers * 2 * tokens**2 * width
    params = weights + words * width + (2 * layers + 1) * width  # embedding and norms compute none
    given = f"{tokens}:int64:{words}"
    return "LLaMA-like stack", f"{__file__}:Llama", given, tokens * weights + attention, params
