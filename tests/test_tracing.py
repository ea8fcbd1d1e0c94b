"""The dry run: exact figures, without memory, of whatever a model does, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from ptools import models
from ptools.errors import UsageError
from ptools.tracing.build import build, build_real, to_meta
from ptools.tracing.inputs import Input, parse
from ptools.tracing.study import Question, examine
from ptools.tracing.trace import Layer, Trace, dry_run, shapes_of
from ptools_plugins.shapes.report import rows, unused

Make = Callable[[], nn.Module]


def trace(make: Make, *inputs: str, train: bool = False, own: bool = False) -> Trace:
    """Return what a dry run found; the inputs are whole shapes, with their batch."""
    answer = examine(Question(make, tuple(map(parse, inputs)), train=train, own=own))
    if answer.error is not None:
        raise answer.error
    assert answer.trace is not None
    return answer.trace


def named(found: Trace, name: str) -> Layer:
    return next(layer for layer in found.layers if layer.name == name)


def names(layers: list[Layer]) -> list[str]:
    return [layer.name for layer in layers]


def consistent(found: Trace) -> None:
    """The figures of the layers add up to the totals, folded at whatever depth."""
    depths = [layer.name.count(".") + 1 for layer in found.layers]
    for layers in [found.layers, *(rows(found.layers, d) for d in (None, *range(max(depths) + 2)))]:
        assert sum(layer.params for layer in layers) == found.params
        assert sum(layer.trainable for layer in layers) == found.trainable
        assert sum(layer.macs for layer in layers) == found.macs
    assert sum(layer.activation_bytes for layer in found.layers) == found.activation_bytes


class Function(nn.Module):
    """A model that is one function of its inputs."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(self, *inputs)


# -- figures, against formulas -----------------------------------------------------------------------


@pytest.mark.parametrize("kind, gates", [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
@pytest.mark.parametrize("layers, ways", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("batch", [1, 4])
def test_recurrent(kind: type[nn.LSTM], gates: int, layers: int, ways: int, batch: int) -> None:
    i, h, steps = 12, 20, 7

    def make() -> nn.Module:
        return kind(i, h, num_layers=layers, bidirectional=ways == 2, batch_first=True)

    found = trace(make, f"{batch}x{steps}x{i}")
    widths = [i] + [ways * h] * (layers - 1)
    assert found.macs == batch * steps * ways * sum(gates * h * (w + h) for w in widths)
    assert found.params == ways * sum(gates * h * (w + h + 2) for w in widths)
    assert found.output[0] == [batch, steps, ways * h]
    consistent(found)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("heads", [1, 4])
def test_transformer_encoder(heads: int, train: bool) -> None:
    d, f, n, depth, batch = 16, 48, 10, 2, 3

    def make() -> nn.Module:
        layer = nn.TransformerEncoderLayer(d, heads, f, batch_first=True)
        return nn.TransformerEncoder(layer, depth)

    found = trace(make, f"{batch}x{n}x{d}", train=train)
    assert found.macs == depth * batch * (n * (4 * d * d + 2 * d * f) + 2 * n * n * d)
    assert found.params == depth * (4 * d * d + 4 * d + 2 * d * f + f + d + 4 * d)
    assert not unused(found.layers)
    assert not found.uncounted
    consistent(found)


def test_multihead_attention_uses_its_out_proj() -> None:
    d, n = 8, 5
    found = trace(
        lambda: Function(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(d, 2)), "5x1x8"
    )
    assert named(found, "a.out_proj").calls == 0
    assert not unused(found.layers)
    assert named(found, "a").macs == found.macs == 4 * n * d * d + 2 * n * n * d


class Functional(nn.Module):
    """Everything by torch.nn.functional, with weights that are parameters of the model itself."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(8, 3, 3, 3))
        self.table = nn.Parameter(torch.randn(8 * 14 * 14, 10))
        self.fc = nn.Linear(10, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(F.conv2d(x, self.kernel)).flatten(1)
        x = torch.einsum("ni,io->no", x, self.table)
        result: torch.Tensor = F.linear(x, self.fc.weight, self.fc.bias)
        return result


def test_functional_calls_belong_to_the_module_that_makes_them() -> None:
    found = trace(Functional, "2x3x16x16")
    conv, product, linear = 2 * 14 * 14 * 8 * 27, 2 * 8 * 14 * 14 * 10, 2 * 10 * 6
    assert found.macs == named(found, "").macs == conv + product + linear
    assert found.params == 8 * 27 + 8 * 14 * 14 * 10 + 66
    assert named(found, "fc").macs == 0
    assert not unused(found.layers)  # fc lends its weights
    consistent(found)


def test_macs_go_to_the_innermost_module() -> None:
    inner = Function(lambda m, x: x @ x.mT)
    found = trace(lambda: Function(lambda m, x: m.inner(x) @ x, inner=inner), "3x5")
    assert (named(found, "").macs, named(found, "inner").macs) == (45, 45)


class Block(nn.Module):
    def __init__(self, d: int, f: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(d), nn.RMSNorm(d)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.gate, self.up = nn.Linear(d, f, bias=False), nn.Linear(d, f, bias=False)
        self.down = nn.Linear(f, d, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, d = x.shape
        y = self.norm1(x)
        q, k, v = (
            w(y).view(n, t, self.heads, -1).transpose(1, 2) for w in (self.q, self.k, self.v)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(n, t, d))
        y = self.norm2(x)
        result: torch.Tensor = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return result


class Llama(nn.Module):
    """The sizes of LLaMA 7B, https://arxiv.org/abs/2302.13971, table 2."""

    def __init__(
        self, vocabulary: int = 32000, d: int = 4096, f: int = 11008, depth: int = 32
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, d)
        self.blocks = nn.Sequential(*(Block(d, f, 32) for _ in range(depth)))
        self.norm = nn.RMSNorm(d)
        self.head = nn.Linear(d, vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.norm(self.blocks(self.embed(tokens))))
        return result


def test_a_llama_of_seven_billion_parameters() -> None:
    v, d, f, depth, t = 32000, 4096, 11008, 32, 128
    found = trace(Llama, f"1x{t}:int64:{v}", own=True)
    assert found.params == 2 * v * d + depth * (4 * d * d + 3 * d * f + 2 * d) + d == 6_738_415_616
    weights = depth * (4 * d * d + 3 * d * f) + v * d
    assert found.macs == t * weights + depth * 2 * t * t * d == 850_000_871_424
    assert found.weight_bytes == 4 * found.params
    assert found.output == [1, t, v]
    assert not found.uncounted
    consistent(found)


PRODUCTS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]], int]] = {
    "mv": (lambda m, a, b: a @ b, [(3, 4), (4,)], 12),
    "dot": (lambda m, a, b: a @ b, [(4,), (4,)], 4),
    "batched": (lambda m, a, b: a @ b, [(2, 3, 4), (2, 4, 5)], 120),
    "inner": (lambda m, a, b: torch.inner(a, b), [(3, 4), (5, 4)], 60),
    "addmm_": (lambda m, c, a, b: c.clone().addmm_(a, b), [(3, 5), (3, 4), (4, 5)], 60),
    "baddbmm_": (lambda m, c, a, b: c.clone().baddbmm_(a, b), [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 120),
    "addbmm": (lambda m, c, a, b: torch.addbmm(c, a, b), [(3, 5), (2, 3, 4), (2, 4, 5)], 120),
    "bilinear": (lambda m, a, b, w: F.bilinear(a, b, w), [(7, 3), (7, 4), (5, 3, 4)], 7 * 5 * 3 * 4),
    "cdist": (lambda m, a, b: torch.cdist(a, b), [(3, 4), (5, 4)], 60),
    "pdist": (lambda m, a: F.pdist(a), [(5, 4)], 40),
    "conv1d": (lambda m, x, w: F.conv1d(x, w), [(2, 3, 10), (5, 3, 3)], 2 * 5 * 8 * 9),
    "grouped": (lambda m, x, w: F.conv2d(x, w, groups=2), [(1, 4, 8, 8), (6, 2, 3, 3)], 36 * 6 * 18),
    "same": (lambda m, x, w: F.conv2d(x, w, padding="same"), [(1, 4, 8, 8), (6, 4, 4, 4)], 6 * 64 * 64),
    "conv3d": (lambda m, x, w: F.conv3d(x, w), [(1, 2, 4, 4, 4), (3, 2, 2, 2, 2)], 27 * 3 * 16),
    "unbatched": (lambda m, x, w: F.conv2d(x, w), [(3, 8, 8), (5, 3, 3, 3)], 36 * 5 * 27),
    "transposed": (
        lambda m, x, w: F.conv_transpose2d(x, w, stride=2), [(1, 4, 5, 5), (4, 3, 2, 2)], 25 * 4 * 12,
    ),
    "attention": (
        lambda m, q: F.scaled_dot_product_attention(q, q, q), [(1, 2, 5, 8)], 2 * 2 * 25 * 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name: str, device: str) -> None:
    function, shapes, macs = PRODUCTS[name]
    found, _ = dry_run(Function(function), [torch.rand(shape, device=device) for shape in shapes])
    assert found.macs == macs
    assert not found.uncounted


def test_what_moves_and_what_is_elementwise_is_free() -> None:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = F.hardswish(F.gelu(x)) + torch.polar(x, x).real + x.floor_divide(2)
        x = F.interpolate(F.max_pool2d(F.pad(x, (1, 1)), 2), scale_factor=2, mode="bicubic")
        x = F.group_norm(F.layer_norm(x.masked_fill(x > 0, 0.0), x.shape[-1:]), 1)
        return x.roll(1).topk(2)[0].cumsum(-1).softmax(-1).unfold(1, 1, 1).mean()

    found = trace(lambda: Function(forward), "2x3x8x8")
    assert (found.macs, found.uncounted) == (0, {})


# -- whose weights, and are they used ----------------------------------------------------------------


def test_tied_weights_count_once() -> None:
    def make() -> nn.Module:
        net = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 8), nn.Linear(8, 50, bias=False))
        net[2].weight = net[0].weight
        return net

    found = trace(make, "1x4:int64:50", own=True)
    assert found.params == 50 * 8 + 8 * 8 + 8
    assert [named(found, n).params for n in "012"] == [400, 72, 0]
    assert found.weight_bytes == 4 * found.params
    assert named(found, "2").macs == 4 * 8 * 50
    consistent(found)


def test_a_module_called_three_times() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.fc(m.fc(m.fc(x)))  # type: ignore[no-any-return]

    found = trace(lambda: Function(forward, fc=nn.Linear(6, 6)), "2x6")
    layer = named(found, "fc")
    assert (layer.calls, layer.params, layer.macs) == (3, 42, 3 * 2 * 36)
    assert names(found.layers).count("fc") == 1
    consistent(found)


def test_one_module_under_two_names() -> None:
    fc = nn.Linear(6, 6)
    found = trace(lambda: nn.Sequential(fc, nn.ReLU(), nn.ModuleList([fc])[0]), "2x6")
    assert found.params == 42
    assert (named(found, "0").calls, named(found, "0").macs) == (2, 2 * 2 * 36)


def test_lazy_layers() -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)
        )

    def plain() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
        )

    found, same = trace(make, "1x3x8x8", own=True), trace(plain, "1x3x8x8")
    assert found == same  # types, weights, MACs, activations
    assert found.params == 8 * 27 + 8 + 16 + 2880 + 10
    consistent(found)


class MadeLater(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc: nn.Module | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fc is None:
            self.fc = nn.Linear(x.shape[1], 10)
        return self.fc(x)  # type: ignore[no-any-return]


def test_a_layer_made_in_forward() -> None:
    found = trace(MadeLater, "3x4")
    assert (named(found, "fc").params, named(found, "fc").macs) == (50, 120)
    consistent(found)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: F.linear(x, m.fc.weight),
        lambda m, x: F.linear(x, weight=m.fc.weight * 2),
        lambda m, x: x @ m.fc.weight.t(),
        lambda m, x: torch.cat([x, m.fc.weight]),
        lambda m, x: torch.func.functional_call(m.fc, dict(m.fc.named_parameters()), (x,)),
    ],
)
def test_a_layer_whose_weights_are_borrowed_is_used(forward: Any) -> None:
    found = trace(lambda: Function(forward, fc=nn.Linear(6, 6)), "6x6", own=True)
    assert not unused(found.layers)


def test_unused_layers_are_listed_and_lists_are_not() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        for layer in m.layers:
            x = layer(x)
        return x + m.extra[0]  # type: ignore[no-any-return]

    def make() -> nn.Module:
        return Function(
            forward,
            layers=nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]),
            extra=nn.ParameterList([nn.Parameter(torch.zeros(4))]),
            empty=nn.ModuleList(),
            table=nn.ModuleDict(),
            spare=nn.Sequential(nn.Linear(4, 9), nn.ReLU()),
        )

    found = trace(make, "2x4", own=True)
    assert names(unused(found.layers)) == ["spare", "spare.0", "spare.1"]
    assert "empty" not in names(rows(found.layers, None))
    assert found.params == 2 * 20 + 4 + 45
    consistent(found)


def test_scripted_layers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    found = trace(lambda: nn.Sequential(scripted), "3x4")
    assert found.macs == 48
    assert not unused(found.layers)
    assert named(found, "0").type == "Sequential"


def test_parametrized_layers() -> None:
    p = nn.utils.parametrizations

    def make() -> nn.Module:
        return nn.Sequential(p.weight_norm(nn.Linear(6, 4)), p.orthogonal(nn.Linear(4, 4)))

    found = trace(make, "3x6")
    assert not unused(found.layers)
    assert found.params == (24 + 4 + 4) + (16 + 4)
    assert list(found.uncounted) == ["aten::linalg_matrix_exp"]
    consistent(found)


def test_frozen_and_buffers() -> None:
    def make() -> nn.Module:
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1))
        net[0].requires_grad_(False)
        return net

    found = trace(make, "1x3x8x8", own=True)
    assert (found.params, found.trainable, found.buffers) == (258, 34, 17)
    assert found.weight_bytes == 4 * 258 + 4 * 16 + 8
    assert found.gradient_bytes == 4 * 34
    consistent(found)


# -- outputs -----------------------------------------------------------------------------------------


@dataclass
class Answered:
    logits: torch.Tensor
    hidden: list[torch.Tensor]
    loss: Any = field(init=False)  # not set: no error


class Pair(NamedTuple):
    mean: torch.Tensor
    spread: torch.Tensor


OUTPUTS: dict[str, tuple[Callable[[torch.Tensor], Any], Any]] = {
    "tensor": (lambda x: x, [3, 4]),
    "tuple": (lambda x: (x, x[0]), [[3, 4], [4]]),
    "dict": (lambda x: {"out": x, 1: x[0]}, {"out": [3, 4], "1": [4]}),
    "dataclass": (lambda x: Answered(x, [x]), {"logits": [3, 4], "hidden": [[3, 4]], "loss": None}),
    "NamedTuple": (lambda x: Pair(x, x[0]), {"mean": [3, 4], "spread": [4]}),
    "nested": (lambda x: {"a": [(x,), {"b": x[0]}]}, {"a": [[[3, 4]], {"b": [4]}]}),
    "torch's own": (lambda x: x.max(0), [[4], [4]]),
    "scalar": (lambda x: x.sum(), []),
    "no tensor": (lambda x: ("label", None, x), [None, None, [3, 4]]),
    "nothing": (lambda x: None, None),
    "ragged": (lambda x: torch.nested.nested_tensor([x, x[:2]]), [[3, 4], [2, 4]]),
    "sparse": (lambda x: x.to_sparse(), [3, 4]),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs(name: str) -> None:
    function, shapes = OUTPUTS[name]
    model = Function(lambda m, x: m.inner(x), inner=Function(lambda m, x: function(x)))
    found, output = dry_run(model, [torch.ones(3, 4)])
    assert found.output == named(found, "inner").output == shapes_of(output) == shapes


def test_packed_sequences() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(x, [4, 2], batch_first=True)
        return m.lstm(packed)[0]

    found = trace(
        lambda: Function(forward, lstm=nn.LSTM(3, 5, batch_first=True)), "2x4x3", own=True
    )
    assert found.output == {"data": [6, 5]}
    assert found.macs == 6 * 4 * 5 * (3 + 5)


# -- what cannot be counted is said ------------------------------------------------------------------


@pytest.mark.parametrize(
    "function, operation",
    [
        (lambda m, x: torch.fft.rfft(x).real, "aten::_fft_r2c"),
        (lambda m, x: torch.linalg.inv(x), "aten::linalg_inv_ex"),
        (lambda m, x: torch.linalg.svd(x)[1], "aten::_linalg_svd"),
        (lambda m, x: torch.linalg.solve(x, x), "aten::_linalg_solve_ex"),
    ],
)
def test_uncounted(function: Any, operation: str) -> None:
    inner = Function(function)
    found = trace(
        lambda: nn.Sequential(nn.Linear(4, 4), Function(lambda m, x: m.i(x), i=inner)), "4x4"
    )
    assert found.uncounted == {operation: ["1.i"]}
    assert found.macs == 64


def test_a_custom_operator_is_not_counted_and_its_parts_are_where_it_has_them() -> None:
    library: Any = torch.library.Library("ptools_test", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define("mixed(Tensor x, Tensor w) -> Tensor")
    library.define("composed(Tensor x, Tensor w) -> Tensor")
    library.impl(
        "mixed", lambda x, w: x.new_empty(x.shape[0], w.shape[1]), "CompositeExplicitAutograd"
    )
    library.impl("composed", lambda x, w: x @ w, "CompositeImplicitAutograd")
    ops = torch.ops.ptools_test

    def forward(m: Any, x: torch.Tensor) -> Any:
        return ops.mixed(ops.composed(x, m.fc.weight), m.fc.weight)

    with torch.no_grad():
        found = trace(lambda: Function(forward, fc=nn.Linear(4, 4, bias=False)), "3x4")
    assert found.uncounted == {"ptools_test::mixed": [""]}
    assert found.macs == 3 * 16
    assert not unused(found.layers)


def test_cond_takes_the_branch_of_its_values() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        return torch.cond(x.sum() > 1e9, lambda x: x + 0, m.fc, (x,))

    found = trace(lambda: Function(forward, fc=nn.Linear(4, 4)), "3x4")
    assert found.data_dependent
    assert found.macs == 48


# -- activation memory -------------------------------------------------------------------------------


def really_kept(model: nn.Module, *inputs: torch.Tensor) -> int:
    """Run for real and return the bytes of what autograd keeps, each storage once, weights not."""
    weights = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(*inputs)
    del output
    return sum(storage.nbytes() for at, storage in kept.items() if at not in weights)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.relu, self.conv2 = nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, padding=1)
        self.pool, self.drop, self.fc = nn.MaxPool2d(2), nn.Dropout(0.3), nn.Linear(8 * 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.conv1(x)))
        x = torch.cat([x, F.gelu(self.conv2(x)) + x])[: len(x)]
        return self.fc(self.drop(self.pool(x).flatten(1)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["", "resnet18", "mobilenet_v2", "densenet121", "swin_t"])
def test_activations_are_what_autograd_keeps(name: str) -> None:
    def make() -> nn.Module:
        return models.build(name) if name else Residual()

    shape = (2, 3, 64, 64) if name else (2, 3, 8, 8)
    found = trace(make, "x".join(map(str, shape)), train=True)
    assert found.activation_bytes == really_kept(make().train(), torch.randn(shape))
    consistent(found)


def test_activations_grow_with_the_batch() -> None:
    one, two, four = (trace(Residual, f"{n}x3x8x8", train=True) for n in (1, 2, 4))
    a, b, c = (found.activation_bytes for found in (one, two, four))
    assert c - b == 2 * (b - a)
    assert a - (b - a) == 2 * 8 * 4  # mean and deviation of the BatchNorm2d: whatever the batch
    assert four.macs == 4 * one.macs
    assert four.weight_bytes == one.weight_bytes


def test_no_activations_without_gradients() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        with torch.no_grad():
            return m.fc(x)

    assert trace(lambda: Function(forward, fc=nn.Linear(4, 4)), "2x4").activation_bytes == 0
    with torch.no_grad():  # a file that switches gradients off says nothing about training
        assert trace(lambda: nn.Linear(4, 4), "2x4").activation_bytes == 32


def test_models_that_differentiate_in_forward() -> None:
    def force(m: Any, x: torch.Tensor) -> Any:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(torch.tanh(m.fc(x)).sum(), x, create_graph=True)[0]

    found = trace(lambda: Function(force, fc=nn.Linear(4, 8)), "3x4", own=True)
    assert found.macs == 2 * 3 * 4 * 8  # forward, and the gradient of the input
    assert found.output == [3, 4]
    jacobian = Function(lambda m, x: torch.func.jacrev(m.fc)(x), fc=nn.Linear(4, 4))
    found = trace(lambda: jacobian, "4")
    assert found.output == [4, 4]
    assert found.notes == ["activation memory is not counted: torch.func allows no look at it"]


# -- nothing is left behind --------------------------------------------------------------------------


def surroundings() -> tuple[Any, ...]:
    """Return whatever a dry run could forget to take away."""
    return (
        len(hooks._global_forward_hooks),
        len(hooks._global_forward_pre_hooks),
        len(hooks._global_forward_hooks_always_called),
        len(hooks._global_backward_hooks),
        len(_get_current_dispatch_mode_stack()),
        torch._C._len_torch_function_stack(),
        torch._C._autograd._top_saved_tensors_default_hooks(True),
        torch.backends.mkldnn.enabled,
        torch.backends.mkldnn.deterministic,
        torch.backends.mkldnn.allow_tf32,
        torch.backends.mha.get_fastpath_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_device(),
        torch.get_default_dtype(),
        nn.Module.register_parameter,
        nn.Module.__call__,
        sys.modules.get("torch._dynamo"),
        vars(torch).get("_dynamo"),
        torch.random.get_rng_state().numpy().tobytes(),
        len(warnings.filters),
    )


class Fails(nn.Module):
    def __init__(self, where: str, error: type[BaseException] = ValueError) -> None:
        super().__init__()
        self.where, self.error = where, error
        self.rnn = nn.LSTM(4, 4)
        if where == "constructor":
            raise error("no")

    def forward(self, x: torch.Tensor) -> Any:
        x = self.rnn(x)[0]
        if self.where == "forward":
            raise self.error("no")
        return x


@pytest.mark.parametrize("where", ["constructor", "forward", "nowhere"])
@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("own", [False, True])
def test_nothing_is_left_behind(where: str, error: type[BaseException], own: bool) -> None:
    before = surroundings()
    with suppress(error):
        trace(lambda: Fails(where, error), "2x3x4", own=own)
    assert surroundings() == before


def test_nothing_is_left_behind_by_the_ways_to_build() -> None:
    before = surroundings()

    def needs_values() -> nn.Module:
        torch.arange(3).tolist()
        return nn.Linear(3, 3)

    def reads_weights() -> nn.Module:
        return nn.Linear(3, int(nn.Linear(3, 3).weight.abs().sum().item()) + 1)

    for make, how in ((lambda: nn.Linear(3, 3), "meta"), (reads_weights, "real")):
        assert build(make).how == how
    assert build(needs_values).how == "registered"
    with pytest.raises(ValueError, match="no"):
        build(lambda: Fails("constructor"))
    with pytest.raises(ValueError, match="no"):
        build_real(lambda: Fails("constructor"))
    assert surroundings() == before


def test_decomposed_operations_leave_no_hooks() -> None:
    before = surroundings()
    with torch.inference_mode():
        trace(lambda: nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4)), "2x3x4")
    assert surroundings() == before


def test_errors_caught_inside_leave_the_stack_right() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        for layer in (m.wrong, m.deep):
            with suppress(RuntimeError):
                layer(x)
        x = x @ x.mT @ x  # of the model itself, not of what failed
        return m.right(x)

    def make() -> nn.Module:
        deep = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(9, 9)))
        return Function(forward, wrong=nn.Linear(5, 5), deep=deep, right=nn.Linear(4, 4))

    found = trace(make, "3x4", own=True)
    got = {layer.name: layer.macs for layer in found.layers}
    assert got == {
        "": 72,
        "wrong": 0,
        "deep": 0,
        "deep.0": 48,
        "deep.1": 0,
        "deep.1.0": 0,
        "right": 48,
    }
    assert named(found, "right").output == [3, 4]


# -- building without memory -------------------------------------------------------------------------


def test_buffers_and_constants_have_their_place() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm: Any = nn.LSTM(4, 5)
            self.constants: list[Any] = [
                torch.ones(5, device="cpu"),
                {"b": torch.ones(5, device="cpu")},
            ]
            self.pair: Any = (torch.ones(5, device="cpu"), "text")
            self.mask: torch.Tensor
            self.register_buffer("mask", torch.ones(5, device="cpu"))
            self.size = int(next(self.lstm.parameters()).detach().mul(0).sum().item())

        def forward(self, x: torch.Tensor) -> Any:
            a, b = self.constants
            return self.lstm(x)[0] * a * b["b"] * self.pair[0] * self.mask

    built = build(Net)
    assert built.how == "real"  # it reads a parameter
    assert all(p.is_meta for p in built.model.parameters())
    found = trace(Net, "3x2x4")
    assert not found.data_dependent
    assert found.macs == 6 * 20 * 9


def test_to_meta_keeps_ties_and_sharing() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    net.kept = [net[0].weight]  # type: ignore[assignment]
    to_meta(net)
    assert net[0].weight is net[1].weight is net.kept[0]  # type: ignore[index]
    assert net[0].weight.is_meta


def test_zero_weights_with_real_buffers() -> None:
    net = build_real(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    assert all(not p.any() for p in net.parameters())
    assert torch.equal(net[1].running_var, torch.ones(4))  # type: ignore[index]


@pytest.mark.parametrize("numpy", [False, True])
def test_a_model_that_needs_values_runs_for_real_and_says_so(numpy: bool) -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        x = m.conv(x)
        if numpy:
            return x * torch.from_numpy(x.detach().numpy())
        return m.fc(x.flatten(1)[x.flatten(1).sum(1) == 0])

    def make() -> nn.Module:
        return Function(forward, conv=nn.Conv2d(3, 4, 3), fc=nn.Linear(4 * 36, 5))

    found = trace(make, "2x3x8x8")
    assert found.data_dependent
    assert found.macs == 2 * 4 * 36 * 27 + (0 if numpy else 2 * 4 * 36 * 5)


CHILD = """
import resource, sys, warnings
warnings.simplefilter("ignore")
import torch
from ptools import models
from ptools.tracing.inputs import parse
from ptools.tracing.study import Question, examine
{0}
def peak():
    try:
        with open("/proc/self/status") as lines:  # ru_maxrss begins with the parent's
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
def trace(make, shape):
    return examine(Question(make, (parse(shape),), own={2})).trace
trace(lambda: torch.nn.Linear(4, 4), "1x4")
before = peak()
found = {1}
print(peak() - before, found.weight_bytes, found.params)
"""


@pytest.mark.parametrize(
    "first, run, own, params",
    [
        (
            "import torchvision",
            'trace(lambda: models.build("vit_h_14(image_size=518)"), "1x3x518x518")',
            False,
            633_470_440,
        ),
        (
            "from tests.test_tracing import Llama",
            'trace(Llama, "1x128:int64")',
            True,
            6_738_415_616,
        ),
    ],
)
def test_nothing_is_allocated(first: str, run: str, own: bool, params: int) -> None:
    """2.4 GB and 27 GB of weights, and as much for activations: in 100 MiB."""
    child = [sys.executable, "-c", CHILD.format(first, run, own)]
    done = subprocess.run(child, capture_output=True, text=True, check=True)
    grown, weights, counted = map(int, done.stdout.split())
    print(f"{grown / 2**20:.0f} MiB more for {weights / 2**30:.1f} GiB of weights")
    assert counted == params
    assert grown < 100 * 2**20


# -- torch.compile's machinery -----------------------------------------------------------------------


@pytest.mark.slow
def test_the_stand_in_does_what_is_asked_of_it() -> None:
    code = """
import sys, torch
from ptools.tracing.lazy import without_dynamo
with without_dynamo():
    @torch.compiler.disable(recursive=False)
    def one(x): return x
    @torch.compiler.disable
    def two(x): return x
    assert one(two(3)) == 3
    assert not hasattr(sys.modules["torch._dynamo"], "__file__")
    assert not any(m.startswith("torch._dynamo.") for m in sys.modules)
assert "torch._dynamo" not in sys.modules and "_dynamo" not in vars(torch)
with without_dynamo(compile=True), without_dynamo():
    assert not hasattr(sys.modules["torch._dynamo"], "__file__")
with without_dynamo():
    import torch._dynamo.config
    from torch._dynamo import symbolic_convert
    assert symbolic_convert.config is torch._dynamo.config  # it is there once
    net = torch.compile(torch.nn.Linear(3, 3), backend="eager")
    assert net(torch.ones(2, 3)).shape == (2, 3)
real = sys.modules["torch._dynamo"]
assert real.config is torch._dynamo.config and real.__file__
with without_dynamo():
    assert sys.modules["torch._dynamo"] is real
assert torch._dynamo.eval_frame._stance.stance == "default"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_is_compiled() -> None:
    calls: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(graph)
        return graph

    def make() -> nn.Module:
        net: Any = torch.compile(nn.Linear(4, 4), backend=backend)
        return nn.Sequential(net)

    found = trace(make, "3x4", own=True)
    assert (found.macs, calls) == (48, [])


# -- what goes in ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("3x224x224", Input((3, 224, 224))),
        ("16:int64", Input((16,), "int64")),
        ("16:int64:1000", Input((16,), "int64", 1000)),
        (":int64", Input((), "int64")),
        ("3×5", Input((3, 5))),
        ("8:int8:128", Input((8,), "int8", 128)),
    ],
)
def test_inputs(text: str, wanted: Input) -> None:
    assert parse(text) == wanted
    assert parse(str(wanted)) == wanted
    assert wanted.batched(2).shape == (2, *wanted.shape)
    assert wanted.batched(None) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "x", "3x", "0", "3x0", "-1", "3x-4", "3.5", "3:float", "3:int64:0", "3:int8:129", "3:bool:3",
     "999999999999999999x999999999999999999", "1" * 30, "16:int64:" + "9" * 30, "3 x 4", "٣"],
)  # fmt: skip
def test_what_is_no_input(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "uint8", "int8"])
def test_whole_numbers_stay_below_their_bound(dtype: str) -> None:
    values = parse(f"7x9:{dtype}:100").tensor("cpu", torch.float32)
    assert values.dtype == getattr(torch, dtype)
    assert values.min() >= 0
    assert values.max() == 99  # the largest is always there
    assert parse(f"7x9:{dtype}:100").tensor("meta", torch.float32).is_meta


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_inputs_have_the_type_of_the_model(dtype: torch.dtype) -> None:
    question = Question(lambda: nn.Linear(4, 4), (parse("2x4"),), dtype=dtype)
    answer = examine(question)
    assert answer.trace is not None
    assert answer.output.dtype == dtype
    assert answer.trace.weight_bytes == 20 * dtype.itemsize


# -- the figures add up, whatever the network --------------------------------------------------------


def nested(seed: int) -> nn.Module:
    """A random tree of modules on (N, 8) tensors, with layers shared, unused and called twice."""
    generator = torch.Generator().manual_seed(seed)

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    shared = nn.Linear(8, 8)

    def grow(depth: int) -> nn.Module:
        kind = draw(7) if depth else draw(3)
        if kind == 0:
            return nn.Linear(8, 8, bias=bool(draw(2)))
        if kind == 1:
            return nn.Sequential(
                nn.Unflatten(1, (2, 4)), nn.Conv1d(2, 2, 3, padding=1), nn.Flatten()
            )
        if kind == 2:
            return shared
        inner = {f"m{i}": grow(depth - 1) for i in range(1 + draw(3))}
        if kind == 3:
            return nn.Sequential(*inner.values())
        if kind == 4:
            return Function(lambda m, x: m.m0(m.m0(x)), **inner)
        if kind == 5:
            return Function(lambda m, x: x @ x.mT @ m.m0(x), **inner)
        return Function(lambda m, x: x.relu(), **inner)

    return grow(4)


def by_hand(model: nn.Module, x: torch.Tensor) -> int:
    """Count the MACs of Linear and Conv1d by hooks on every one of them."""
    counted: list[int] = []

    def count(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        if isinstance(module, nn.Linear):
            counted.append(output.numel() * module.in_features)
        elif isinstance(module, nn.Conv1d):
            counted.append(output.numel() * module.in_channels * module.kernel_size[0])

    handles = [module.register_forward_hook(count) for module in model.modules()]
    model(x)
    for handle in handles:
        handle.remove()
    return sum(counted)


def test_figures_add_up() -> None:
    for seed in range(40):
        found = trace(lambda seed=seed: nested(seed), "3x8", own=False)  # type: ignore[misc]
        consistent(found)
        model = nested(seed)
        assert found.params == sum(p.numel() for p in model.parameters())
        products = found.macs - by_hand(model, torch.ones(3, 8))
        assert products % (2 * 3 * 3 * 8) == 0  # x @ x.mT @ y, called as often as may be
        assert products >= 0


# -- torchvision -------------------------------------------------------------------------------------


def published() -> Iterator[tuple[str, int, float, int]]:
    """Return every classification model with its input size, GMACs and parameters, as published."""
    torchvision = pytest.importorskip("torchvision.models")
    seen = set()
    for name in torchvision.list_models(module=torchvision):
        for weights in torchvision.get_model_weights(name):
            size = weights.transforms.keywords["crop_size"]
            if (name, size) not in seen:
                seen.add((name, size))
                yield name, size, weights.meta["_ops"], weights.meta["num_params"]


PAIRS = list(published())


@pytest.mark.slow
@pytest.mark.parametrize("name, size, gmacs, params", PAIRS)
def test_published_figures(name: str, size: int, gmacs: float, params: int) -> None:
    spec = f"{name}(image_size={size})" if name.startswith("vit_") else name
    found = trace(lambda: models.build(spec), f"1x3x{size}x{size}")
    assert round(found.macs / 1e9, 3) == gmacs
    if name == "googlenet":  # published without its two auxiliary heads
        heads = sum(x.params for x in found.layers if x.name.startswith("aux"))
        assert {x.name for x in unused(found.layers)} >= {"aux1", "aux2"}
        assert (found.params - heads, heads) == (params, 6_379_984)
        assert (
            trace(lambda: models.build("googlenet(aux_logits=False)"), "1x3x224x224").params
            == params
        )
    else:
        assert found.params == params
    assert not found.uncounted
    assert not found.data_dependent
    assert found.output == [1, 1000]
    consistent(found)


OTHERS: dict[str, tuple[str, str]] = {
    **{f"{n}_18": ("", "3x16x112x112") for n in ("r3d", "mc3", "r2plus1d")},
    "s3d": ("", "3x16x224x224"),
    **dict.fromkeys(("mvit_v1_b", "mvit_v2_s"), ("", "3x16x224x224")),
    **{f"swin3d_{n}": ("", "3x16x224x224") for n in "tsb"},
    **{f"fcn_resnet{n}": ("(num_classes=21, aux_loss=True)", "3x520x520") for n in (50, 101)},
    **{f"deeplabv3_resnet{n}": ("(num_classes=21, aux_loss=True)", "3x520x520") for n in (50, 101)},
    "deeplabv3_mobilenet_v3_large": ("(num_classes=21, aux_loss=True)", "3x520x520"),
    "lraspp_mobilenet_v3_large": ("(num_classes=21)", "3x520x520"),
    "ssdlite320_mobilenet_v3_large": ("", "3x320x320"),
    **{
        f"quantized_{name}": ("", f"3x{size}x{size}")
        for name, size in {
            "googlenet": 224, "inception_v3": 299, "mobilenet_v2": 224, "mobilenet_v3_large": 224,
            "resnet18": 224, "resnet50": 224, "resnext101_32x8d": 224, "resnext101_64x4d": 224,
            "shufflenet_v2_x0_5": 224, "shufflenet_v2_x1_0": 224, "shufflenet_v2_x1_5": 224,
            "shufflenet_v2_x2_0": 224,
        }.items()
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_published_figures_of_video_segmentation_and_quantized_models(name: str) -> None:
    torchvision = pytest.importorskip("torchvision.models")
    arguments, shape = OTHERS[name]
    found = trace(lambda: models.build(name + arguments), f"1x{shape}")
    metas = [w.meta for w in torchvision.get_model_weights(name)]
    assert round(found.macs / 1e9, 3) in {meta["_ops"] for meta in metas}
    assert not found.uncounted
    assert found.data_dependent == ("ssdlite" in name)
    consistent(found)


EVERY = pytest.importorskip("torchvision.models").list_models()
REST = sorted(set(EVERY) - {pair[0] for pair in PAIRS} - set(OTHERS))


def test_every_model_of_torchvision_is_run_here() -> None:
    assert len(PAIRS) >= 86
    assert len(EVERY) >= 121
    assert len({pair[0] for pair in PAIRS}) + len(OTHERS) + len(REST) == len(EVERY)


@pytest.mark.slow
@pytest.mark.parametrize("name", REST)
def test_every_model_of_torchvision_runs(name: str) -> None:
    """Optical flow takes two images; what detects decides by its data, so zero weights do."""
    flow = name.startswith("raft")
    spec = name if flow or name.startswith("ssd") else f"{name}(min_size=64, max_size=64)"
    found = trace(lambda: models.build(spec), *(["1x3x128x128"] * 2 if flow else ["1x3x64x64"]))
    assert found.data_dependent == (not flow)
    assert found.macs > 0
    assert found.params == sum(
        p.numel() for p in build(lambda: models.build(name)).model.parameters()
    )
    assert not found.uncounted
    consistent(found)


def test_a_real_run_computes_only_shapes_where_weights_are_zero() -> None:
    """The same figures as the whole computation, for what depends on data."""

    def forward(m: Any, x: torch.Tensor) -> Any:
        return m.fc(m.conv(x).flatten(1)[: int(x.sum().item() * 0) + 1])

    def make() -> nn.Module:
        return Function(forward, conv=nn.Conv2d(3, 4, 3, stride=2), fc=nn.Linear(36, 5))

    zero, whole = build_real(make), make()
    x = torch.rand(2, 3, 8, 8)
    one, two = dry_run(zero, [x]), dry_run(whole, [x])
    assert one[0] == two[0]
    assert torch.equal(one[1], zero(x))
    torch.testing.assert_close(two[1], whole(x))
    assert one[1].stride() == two[1].stride()


def test_truncated_initialisation_ends() -> None:
    """It draws until every value lies within its bounds; left out, it must not wait for that."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.full((8,), 9.0))
            nn.init.trunc_normal_(self.w, mean=5.0, a=4.0, b=6.0)

    before = nn.init.trunc_normal_, getattr(nn.init, "_no_grad_trunc_normal_", None)
    assert build_real(Net).w.tolist() == [0.0] * 8  # type: ignore[operator]
    assert before == (nn.init.trunc_normal_, getattr(nn.init, "_no_grad_trunc_normal_", None))
