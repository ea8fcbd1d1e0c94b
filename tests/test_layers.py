"""Layers as text: read without running them, filled in, repaired, and written back."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptools.errors import FileError, UsageError
from ptools.tracing.filling import fill, repair
from ptools.tracing.layers import Layer, build, parse, source
from ptools.tracing.reading import read

if TYPE_CHECKING:
    import torch
    from torch import nn

LENET = """
self.net = nn.Sequential(
    nn.Conv2d(3, 6, 5),   # (0): is this a name? no, a comment
    nn.ReLU(inplace=True),
    nn.MaxPool2d(2, 2),

    nn.Flatten(),
    nn.Linear(6*14*14, 10),
)
"""


def texts(text: str) -> list[str]:
    return [layer.text for layer in parse(text)]


def names(text: str) -> list[str]:
    return [layer.name for layer in parse(text)]


def tensor(*shape: int, dtype: str = "float32") -> torch.Tensor:
    import torch

    return torch.empty(shape, dtype=getattr(torch, dtype), device="meta")


def filled(text: str, *shape: int) -> list[str]:
    return [layer.text for layer in fill(parse(text), [tensor(*shape)])]


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def refused(text: str) -> str:
    """Return the message of parse's UsageError: one line."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 420
    return message


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Conv2d(3, 32, 5, padding=2)", ["Conv2d(3, 32, 5, padding=2)"]),
        ("nn.ReLU(), torch.nn.Flatten(),", ["ReLU()", "Flatten()"]),
        ("ReLU()\n    Flatten()\n", ["ReLU()", "Flatten()"]),
        ("    nn.ReLU(),\n  nn.Flatten(),\n", ["ReLU()", "Flatten()"]),
        ("[nn.ReLU(), nn.Tanh()]", ["ReLU()", "Tanh()"]),
        ("layers = [\n  nn.ReLU(),\n]", ["ReLU()"]),
        ("nn.Sequential(*[nn.ReLU(), nn.Tanh()], nn.ELU())", ["ReLU()", "Tanh()", "ELU()"]),
        (">>> model = nn.Sequential(\n...     nn.ReLU(),\n... )", ["ReLU()"]),
        ("import torch.nn as nn\nfrom torch import nn\nnn.ReLU()", ["ReLU()"]),
        ("Linear(16*5*5, 2**3 - 1)", ["Linear(16 * 5 * 5, 2 ** 3 - 1)"]),
        ("Linear(3, 4, dtype=torch.float64)", ["Linear(3, 4, dtype=torch.float64)"]),
        ("Threshold(-0.5, +2)", ["Threshold(-0.5, +2)"]),
        ("Linear(3,\xa04)", ["Linear(3, 4)"]),
        ("Unflatten(1, (2, -1))", ["Unflatten(1, (2, -1))"]),
        ("CrossEntropyLoss(ignore_index=255)", ["CrossEntropyLoss(ignore_index=255)"]),
        ("LazyLinear(64)", ["LazyLinear(64)"]),
        (
            "TransformerEncoder(nn.TransformerEncoderLayer(64, 4, batch_first=True), 2)",
            ["TransformerEncoder(TransformerEncoderLayer(64, 4, batch_first=True), 2)"],
        ),
        ("nn.Sequential(nn.Sequential(nn.ReLU()), nn.ELU())", ["Sequential(ReLU())", "ELU()"]),
        ("UpsamplingBilinear2d(scale_factor=2.0, mode='bilinear')", None),
    ],
)
def test_layers_as_people_write_them(text: str, expected: list[str] | None) -> None:
    assert texts(text) == (expected or ["UpsamplingBilinear2d(scale_factor=2.0)"])
    assert len(build(parse(text))) == len(parse(text))


def test_a_pasted_sequential_with_comments_and_an_assignment() -> None:
    layers = parse(LENET)
    assert [layer.kind for layer in layers] == ["Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear"]
    model = build(layers)
    assert shapes(model)["4.weight"] == (10, 1176)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    image = tensor(2, 3, 32, 32).new_zeros(2, 3, 32, 32, device="cpu")
    assert build(layers, "cpu")(image).shape == (2, 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'Sequential(OrderedDict([("conv1", nn.Conv2d(3, 4, 3)), ("act", nn.ReLU())]))',
            "conv1 act",
        ),
        ('nn.Sequential(collections.OrderedDict({"a": nn.ReLU(), "b": nn.ELU()}))', "a b"),
        ("Sequential(OrderedDict(a=ReLU(), b=ELU()))", "a b"),
        ("self.conv1 = nn.Conv2d(3, 6, 5)\nself.pool = nn.MaxPool2d(2)", "conv1 pool"),
        ("self.conv1: nn.Module = nn.Conv2d(3, 6, 5)", "conv1"),
        ("Sequential(\n  (0): ReLU()\n  (conv-1): Tanh()\n)", "0 conv-1"),
        ("  (0): ReLU()\n  (1): Tanh()\n", "0 1"),
        ("(a): ReLU() (b): Tanh()", "a b"),
        ("Sequential( (a): ReLU() (b): Tanh() )", "a b"),
    ],
)
def test_names_are_kept(text: str, expected: str) -> None:
    assert names(text) == expected.split()
    assert [name for name, _ in build(parse(text)).named_children()] == expected.split()


def test_what_pytorch_prints_is_read_with_its_bare_words() -> None:
    layers = parse(
        "Sequential(\n"
        "  (0): Conv2d(3, 6, kernel_size=(3, 3), stride=(1, 1), padding=same, padding_mode=reflect)\n"
        "  (block): Sequential(\n"
        "    (0): Linear(in_features=10, out_features=5, bias=True)\n"
        "  )\n"
        ")"
    )
    assert "padding='same', padding_mode='reflect'" in layers[0].text
    assert list(shapes(build(layers))) == ["0.weight", "0.bias", "block.0.weight", "block.0.bias"]


def test_a_device_in_the_text_does_not_count() -> None:
    assert next(build(parse('Linear(3, 4, device="cuda:7")')).parameters()).device.type == "meta"


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nn.ReLU", "write nn.ReLU()"),
        ("Conv2D(3, 4, 3)", "Did you mean 'Conv2d'?"),
        ("Relu()", "Did you mean 'ReLU'?"),
        ("F.max_pool2d(2)", "Did you mean 'MaxPool2d'?"),
        ("BatchNorm(3)", "Did you mean 'BatchNorm"),
        ("Conv2d(3, 32, 5, paddding=2)", "no argument 'paddding'. Did you mean 'padding'?"),
        ("LSTM(3, 4, hiden_size=2)", "Did you mean 'hidden_size'?"),
        ("Conv2d(3, 8, 3, groups=4)", "in_channels must be divisible by groups"),
        (
            "Linear(3)",
            "missing 1 required positional argument: 'out_features'; it takes (in_features",
        ),
        ("Linear(3, 4, in_features=3)", "'in_features' is given twice"),
        ("Linear(-3, 2)", "negative dimension"),
        ("Linear(n, 10)", "'n' is no literal"),
        ("Linear(?, ?)", "out_features is yours to choose"),
        ("Conv2d(?, 8, 3, groups=?)", "groups is yours to choose"),
        ("Embedding(?, 64)", "vocabulary"),
        ("MaxPool2d(?)", "nothing in MaxPool2d follows from its input's shape"),
        ("Bilinear(?, ?, 3)", "nothing in Bilinear"),
        ("Linear(??, 3)", "'??' is no literal"),
        ("LayerNorm((?, 3))", "no literal"),
        ("nn.ModuleList([nn.ReLU()])", "nn.ModuleList is no layer by itself"),
        ("nn.Sequential(*layers)", "'*layers' is no layer"),
        ("nn.Sequential([nn.ReLU()])", "leave its brackets out"),
        ("Sequential(ReLU(), name=1)", "no keywords"),
        ('Sequential(OrderedDict([("a", ReLU()), ("a", ReLU())]))', "two layers are called 'a'"),
        ('Sequential(OrderedDict([("forward", ReLU())]))', "no layer may be called 'forward'"),
        ('Sequential(OrderedDict([("a.b", ReLU())]))', "no layer may be called 'a.b'"),
        ("Sequential(OrderedDict([ReLU()]))", '("conv1", Conv2d(3, 8, 3))'),
        ("", "no layer is given"),
        ("nn.Sequential()", "no layer is given"),
        ("Linear(3 4)", "line 1, 'Linear(3 4)', cannot be read"),
        ("ReLU()\nLinear(?, 64", "line 2, 'Linear(?, 64'"),
        ("class Net(nn.Module):\n    pass", "--model net.py:Net"),
        ("Net(\n  (conv1): Conv2d(1, 2, kernel_size=(3, 3))\n)", "--model net.py:Net"),
        ("TransformerEncoder(\n  (layers): ModuleList(\n (0-1): 2 x ReLU()))", "arguments out"),
        ("LSTM(3, 4, num_layers=10**9)", "more than 1000 layers"),
        ("TransformerEncoder(TransformerEncoder(TransformerEncoderLayer(4, 2), 99), 99)", "1000"),
        ("Linear(10**30, 2)", "too large"),
    ],
)
def test_errors_say_what_to_do(text: str, message: str) -> None:
    assert message in refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch {}')",
        "Linear(__import__('os').system('touch {}'), 1)",
        "import os; os.system('touch {}')",
        "Linear(open('{}', 'w').write('x'), 1)",
        "ReLU() if open('{}', 'w') else ReLU()",
        "(lambda: open('{}', 'w'))()",
        "[open('{}', 'w') for _ in (1,)]",
        "Linear(f\"{{open('{}', 'w')}}\", 1)",
        "ReLU().__class__.__init__.__globals__['os'].system('touch {}')",
        "nn.Sequential(*[open('{}', 'w')])",
        "x = open('{}', 'w')",
        "Linear(3, 4, dtype=torch.save([], '{}'))",
        "Linear(**{{'in_features': open('{}', 'w')}})",
        "nn.Sequential(OrderedDict(open('{}', 'w')))",
        "@open('{}', 'w')\ndef f(): pass",
        "ReLU() (open('{}', 'w')): ReLU()",
    ],
)
def test_nothing_is_ever_run(text: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    refused(text.format(made))
    assert not made.exists()


@pytest.mark.parametrize(
    "text",
    [
        "Linear(9**9**9, 1)",
        "Linear(9**9**9**9, 1)",
        "Linear(2**64, 1)",
        "Linear(10**18 * 10**18, 1)",
        "Linear(1e300 ** 60, 1)",
        "Linear(1 // 0, 1)",
        "Linear((-8) ** 0.5, 1)",
        "Linear(1e999 - 1e999 ** 1e999, 1)",
        "Linear('a' * 10**9, 1)",
        "Linear(" + "9" * 5000 + ", 1)",
        "x\0y",
        "Linear(3, 4)\0",
        "\ud800()",
        "ReLU(\n'unclosed)",
        '"' * 99_999,
        "'\\" * 49_000,
        "(" * 99_000,
        "(" * 1_000_000,
        "Linear(" * 150 + ")" * 150,
        "Sequential(" * 150 + "ReLU()" + ")" * 150,
        "-" * 90_000 + "1",
        "a" + ".b" * 40_000,
        "Linear(1" + "+1" * 40_000 + ", 1)",
        "Linear(" + "-" * 3000 + "1, 1)",
        "(a):" * 20_000,
        "( " * 49_000,
        "?" * 99_000,
        "(0): " * 15_000 + "ReLU()",
        "LSTM(1, 1, 1000000000000)",
        "TransformerEncoder(Sequential(LSTM(1, 1, 1000)), 1000)",
        "TransformerEncoder(Sequential(" + "ReLU(), " * 1000 + "), 1000)",
        "a" * 99_000 + "()",
        "Linear(3, 4, " + "a" * 90_000 + "=1)",
        "Sequential(OrderedDict([('" + "forward." * 9000 + "', ReLU())]))",
        "AdaptiveLogSoftmaxWithLoss(8, 9, [" + "1, " * 20_000 + "])",
        "Transformer(8, 2, 100000, 100000)",
    ],
    ids=lambda text: re.sub(r"[^ -~]", "?", text[:20]),
)
def test_hostile_text_is_refused_at_once(text: str) -> None:
    start = time.process_time()
    refused(text)
    assert time.process_time() - start < 5


def test_a_long_chain_is_read_in_reasonable_time() -> None:
    start = time.process_time()
    assert len(parse("ReLU()\n" * 5000)) == 5000
    assert time.process_time() - start < 10


@given(st.text(alphabet="?()[]{}=,.:*'\"# \n\\0aRLinear\0éɁ", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except UsageError as error:
        assert "\n" not in str(error)


# --- the question mark --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shape", "last"),
    [
        (
            "Conv2d(3, 32, 5, padding=2), MaxPool2d(2), Flatten(), Linear(?, 64)",
            (4, 3, 32, 32),
            "8192",
        ),
        ("Conv2d(?, 8, 3)", (4, 5, 9, 9), "Conv2d(5, 8, 3)"),
        ("Conv2d(?, 8, 3)", (5, 9, 9), "Conv2d(5, 8, 3)"),
        ("Conv2d(in_channels=?, out_channels=8, kernel_size=3)", (4, 5, 9, 9), "in_channels=5"),
        ("Conv2d(?, 8, 3, groups=4)", (4, 12, 9, 9), "Conv2d(12, 8, 3, groups=4)"),
        ("Conv1d(?, 8, 3)", (4, 5, 9), "Conv1d(5, 8, 3)"),
        ("Conv3d(?, 8, 3)", (4, 5, 9, 9, 9), "Conv3d(5, 8, 3)"),
        ("ConvTranspose2d(?, 8, 2, 2)", (4, 5, 9, 9), "ConvTranspose2d(5, 8, 2, 2)"),
        ("Conv2d(3, 7, 3), BatchNorm2d(?)", (4, 3, 9, 9), "BatchNorm2d(7)"),
        ("InstanceNorm2d(?, affine=True)", (4, 3, 9, 9), "InstanceNorm2d(3, affine=True)"),
        ("GroupNorm(4, ?)", (4, 12, 9, 9), "GroupNorm(4, 12)"),
        ("LayerNorm(?)", (4, 7, 12), "LayerNorm(12)"),
        ("RMSNorm(?)", (4, 7, 12), "RMSNorm(12)"),
        ("PReLU(?)", (4, 12, 3), "PReLU(12)"),
        ("LSTM(?, 64, batch_first=True)", (4, 7, 12), "LSTM(12, 64, batch_first=True)"),
        ("GRU(input_size=?, hidden_size=3)", (4, 7, 12), "input_size=12"),
        ("RNNCell(?, 3)", (4, 12), "RNNCell(12, 3)"),
        ("MultiheadAttention(?, 4)", (4, 7, 12), "MultiheadAttention(12, 4)"),
        ("TransformerEncoderLayer(?, 4), Linear(?, 2)", (4, 7, 12), "Linear(12, 2)"),
        (
            "TransformerEncoder(TransformerEncoderLayer(?, 4), 2, norm=LayerNorm(?))",
            (4, 7, 12),
            "TransformerEncoder(TransformerEncoderLayer(12, 4), 2, norm=LayerNorm(12))",
        ),
        ("Flatten(), LazyLinear(3)", (4, 5, 6), "Linear(30, 3)"),
        ("LazyConv2d(out_channels=3, kernel_size=2)", (4, 5, 6, 6), "Conv2d(5, out_channels=3"),
        ("LazyBatchNorm2d()", (1, 5, 6, 6), "BatchNorm2d(5)"),
    ],
)
def test_the_question_mark_is_the_number_that_fits(
    text: str, shape: tuple[int, ...], last: str
) -> None:
    result = fill(parse(text), [tensor(*shape)])
    assert last in result[-1].text
    model = build(result, "cpu").eval()
    if "Multihead" not in text:
        model(tensor(*shape).new_zeros(shape, device="cpu"))


def test_question_marks_in_nested_chains_and_in_a_row() -> None:
    text = (
        "Sequential(Conv2d(?, 8, 3), BatchNorm2d(?)), Sequential(Flatten(), Linear(?, 5)), PReLU(?)"
    )
    assert filled(text, 2, 3, 6, 6) == [
        "Sequential(Conv2d(3, 8, 3), BatchNorm2d(8))",
        "Sequential(Flatten(), Linear(128, 5))",
        "PReLU(5)",
    ]


def test_a_chain_without_question_marks_is_not_run() -> None:
    layers = parse("Linear(3, 4), Linear(5, 6)")
    assert fill(layers, [tensor(1, 9)]) == layers


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        (
            "Conv2d(3, 8, 3), Linear(?, 2)",
            (1, 4, 9, 9),
            "layer 0, Conv2d(3, 8, 3), cannot take [1, 4, 9, 9]",
        ),
        (
            "Sequential(ReLU(), Linear(3, 4)), Linear(?, 2)",
            (1, 9),
            "layer 0.1, Linear(3, 4), cannot",
        ),
        ("LSTM(?, 8), Linear(?, 2)", (1, 4, 9), "hands the whole tuple on"),
        ("Conv2d(?, 8, 3)", (5,), "more dimensions"),
        ("Conv2d(?, 8, 3, groups=4)", (1, 6, 9, 9), "divisible by groups"),
        ("MultiheadAttention(?, 4)", (2, 3, 6), "divisible by num_heads"),
    ],
)
def test_where_no_number_can_be_found(text: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        fill(parse(text), [tensor(*shape)])


def test_a_chain_with_a_question_mark_cannot_be_built() -> None:
    with pytest.raises(UsageError, match="not known yet"):
        build(parse("Linear(?, 3)"))


# --- repair -------------------------------------------------------------------------------------

CNN = "Conv2d(3, 6, 5), MaxPool2d(2), Conv2d(6, 16, 5), ReLU(), MaxPool2d(2), "


def test_the_size_after_flatten_with_its_origin() -> None:
    text = CNN + "Flatten(), Linear(256, 120), ReLU(), Linear(84, 10)"
    found = repair(parse(text), [tensor(4, 3, 32, 32)])
    assert found is not None
    assert (found.name, found.layer.text) == ("6", "Linear(256, 120)")
    assert found.expected == "[*, 256]   in_features=256"
    assert found.got == "[4, 400]   = 16*5*5 flattened, from 4 (MaxPool2d) [4, 16, 5, 5]"
    assert found.cause == "in_features is 256, but 4 (MaxPool2d) gives 16*5*5 = 400"
    assert found.edits == (
        "6: Linear(256, 120) -> Linear(400, 120)",
        "8: Linear(84, 10) -> Linear(120, 10)",
    )


@pytest.mark.parametrize(
    ("text", "shape", "edits"),
    [
        (CNN + "Linear(400, 9)", (4, 3, 32, 32), "insert Flatten() before 5 (Linear)"),
        (
            CNN + "Linear(256, 9)",
            (4, 3, 32, 32),
            "insert Flatten() before 5 (Linear)|5: Linear(256, 9) -> Linear(400, 9)",
        ),
        ("Conv2d(1, 6, 5)", (4, 3, 32, 32), "0: Conv2d(1, 6, 5) -> Conv2d(3, 6, 5)"),
        ("ConvTranspose2d(8, 3, 3)", (4, 3, 9, 9), "0: ConvTranspose2d(8, 3, 3) -> ConvTranspose2d(3, 3, 3)"),
        ("Conv2d(3, 6, 5), BatchNorm1d(6)", (4, 3, 9, 9), "1: BatchNorm1d(6) -> BatchNorm2d(6)"),
        ("Conv2d(3, 6, 5), BatchNorm1d(7)", (4, 3, 9, 9), "1: BatchNorm1d(7) -> BatchNorm2d(6)"),
        ("Flatten(), BatchNorm2d(27)", (4, 3, 3, 3), "1: BatchNorm2d(27) -> BatchNorm1d(27)"),
        (
            "Conv1d(3, 4, 3), MaxPool1d(2)",
            (2, 3, 8, 8),
            "0: Conv1d(3, 4, 3) -> Conv2d(3, 4, 3)|1: MaxPool1d(2) -> MaxPool2d(2)",
        ),
        ("LayerNorm((3, 4, 4))", (1, 5, 4, 4), "0: LayerNorm((3, 4, 4)) -> LayerNorm((5, 4, 4))"),
        ("Linear(5, 3)", (2, 10, 8), "0: Linear(5, 3) -> Linear(8, 3)"),
        ("Linear(80, 3)", (2, 10, 8), "insert Flatten() before 0 (Linear)"),
        ("LSTM(6, 8)", (5, 4, 7), "0: LSTM(6, 8) -> LSTM(7, 8)"),
        ("MaxPool2d(2), MaxPool2d(2), Flatten()", (1, 3, 2, 2), "leave 1 (MaxPool2d) out"),
        ("ELU(), Sequential(ReLU(), Linear(3, 4))", (1, 9), "1.1: Linear(3, 4) -> Linear(9, 4)"),
        (
            "TransformerEncoder(TransformerEncoderLayer(64, 4), 2)",
            (5, 4, 8),
            "0: TransformerEncoder(TransformerEncoderLayer(64, 4), 2) -> "
            "TransformerEncoder(TransformerEncoderLayer(8, 4), 2)",
        ),
    ],
)  # fmt: skip
def test_a_repaired_chain_runs(text: str, shape: tuple[int, ...], edits: str) -> None:
    layers = parse(text)
    found = repair(layers, [tensor(*shape)])
    assert found is not None
    assert found.edits == tuple(edits.split("|"))
    assert found.layers is not None
    assert repair(found.layers, [tensor(*shape)]) is None
    build(found.layers, "cpu").eval()(tensor(*shape).new_zeros(shape, device="cpu"))


def test_given_names_stay_when_a_layer_is_inserted() -> None:
    text = "self.flatten = nn.Identity()\nself.fc = nn.Linear(7, 5)"
    found = repair(parse(text), [tensor(2, 3, 4, 4)])
    assert found is not None
    assert found.layers is not None
    assert [layer.name for layer in found.layers] == ["flatten", "flatten1", "fc"]
    assert found.layers[-1].text == "Linear(48, 5)"


@pytest.mark.parametrize(
    ("text", "given", "expected", "cause"),
    [
        ("LSTM(7, 8), Linear(8, 3)", tensor(5, 4, 7), "one tensor", "0 (LSTM) returns a tuple"),
        ("Embedding(9, 4)", tensor(5, 4), "whole numbers, int64", "takes whole numbers, not floats"),
        ("Linear(4, 2)", tensor(5, 4, dtype="int64"), "[*, 4]   in_features=4", "takes float32, not int64"),
        ("Conv2d(3, 4, 9)", tensor(1, 3, 4, 4), "[*, 3, *, *]   in_channels=3", "Kernel size"),
        ("Conv2d(4, 8, 3, groups=4)", tensor(1, 3, 8, 8), "[*, 4, *, *]   in_channels=4", "input gives 3"),
        ("Bilinear(4, 4, 2)", tensor(1, 4), "one tensor", "missing"),
        ("MaxPool2d(9)", tensor(1, 3, 4, 4), "[*, *, *, *]", "too small"),
        ("Softmax2d()", tensor(1, 4), "[*, *, *, *]", "takes no input of 2 dimensions"),
    ],
)  # fmt: skip
def test_what_no_edit_repairs_is_explained(
    text: str, given: Any, expected: str, cause: str
) -> None:
    found = repair(parse(text), [given])
    assert found is not None
    assert (found.edits, found.layers) == ((), None)
    assert found.expected == expected
    assert cause in found.cause


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (CNN + "Flatten(), Linear(400, 9)", (4, 3, 32, 32)),
        ("LSTM(7, 8), Identity()", (4, 3, 7)),
        ("BatchNorm1d(7)", (1, 7)),
        ("Conv2d(3, 4, 3)", (3, 9, 9)),
        ("LazyConv2d(4, 3), LazyBatchNorm2d(), Flatten(), LazyLinear(2)", (2, 3, 9, 9)),
        ("nn.Sequential(nn.Sequential(), ReLU())", (2, 3)),
    ],
)
def test_a_chain_that_runs_needs_no_repair(text: str, shape: tuple[int, ...]) -> None:
    assert repair(parse(text), [tensor(*shape)]) is None


def test_a_chain_wrong_everywhere_ends_soon() -> None:
    start = time.process_time()
    found = repair(parse("Linear(3, 4)\n" * 30), [tensor(1, 9)])
    assert found is not None
    assert found.layers is not None
    assert time.process_time() - start < 20


# --- text, there and back -----------------------------------------------------------------------


def test_source_is_code_to_paste() -> None:
    layers = parse(
        'Sequential(OrderedDict([("a", Conv2d(3, 4, 3)), ("b", Sequential(ReLU(), ELU()))]))'
    )
    assert source(layers) == (
        "nn.Sequential(OrderedDict([\n"
        '    ("a", nn.Conv2d(3, 4, 3)),\n'
        '    ("b", nn.Sequential(\n'
        "        nn.ReLU(),\n"
        "        nn.ELU(),\n"
        "    )),\n"
        "]))"
    )
    encoder = parse("TransformerEncoder(TransformerEncoderLayer(8, 2), 2)")
    assert "nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 2)," in source(encoder)


def sizes(low: int = 1, high: int = 4) -> st.SearchStrategy[int]:
    return st.integers(low, high)


def calls() -> st.SearchStrategy[str]:
    """Return source text of one random layer that can be built."""
    pair, flag = st.tuples(sizes(), sizes()), st.booleans()
    conv = ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
    return st.one_of(
        st.builds("Linear({}, {}, bias={})".format, sizes(), sizes(), flag),
        st.builds("{}({}, {}, {}, stride={}, padding={}, dilation={}, groups=2, bias={})".format,
                  st.sampled_from(conv), sizes().map(lambda n: 2 * n), sizes().map(lambda n: 2 * n),
                  sizes(), sizes(), sizes(0), sizes(), flag),
        st.builds("Conv2d({}, {}, {}, padding='same', padding_mode={!r})".format, sizes(), sizes(), pair,
                  st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
        st.builds("BatchNorm{}d({}, eps={}, momentum={}, affine={}, track_running_stats={})".format,
                  sizes(1, 3), sizes(), st.floats(1e-9, 1), st.none() | st.floats(0, 1), flag, flag),
        st.builds("InstanceNorm{}d({}, affine={})".format, sizes(1, 3), sizes(), flag),
        st.builds("GroupNorm(2, {}, affine={})".format, sizes().map(lambda n: 2 * n), flag),
        st.builds("LayerNorm({}, elementwise_affine={})".format, sizes() | pair, flag),
        st.builds("RMSNorm({})".format, sizes() | pair),
        st.builds("{}({}, {}, num_layers={}, bias={}, batch_first={}, bidirectional={})".format,
                  st.sampled_from(["RNN", "LSTM", "GRU"]), sizes(), sizes(), sizes(), flag, flag, flag),
        st.builds("LSTM({}, 5, proj_size={})".format, sizes(), sizes()),
        st.builds("{}({}, {}, bias={})".format, st.sampled_from(["RNNCell", "LSTMCell", "GRUCell"]),
                  sizes(), sizes(), flag),
        st.builds("Embedding({}, {}, padding_idx=0)".format, sizes(), sizes()),
        st.builds("EmbeddingBag({}, {}, mode={!r})".format, sizes(), sizes(),
                  st.sampled_from(["sum", "mean", "max"])),
        st.builds("Bilinear({}, {}, {})".format, sizes(), sizes(), sizes()),
        st.builds("PReLU({})".format, sizes()),
        st.builds("Dropout({})".format, st.floats(0, 1)),
        st.builds("MaxPool{}d({}, ceil_mode={})".format, sizes(1, 3), sizes(), flag),
        st.builds("AvgPool2d({}, stride={})".format, pair, sizes()),
        st.builds("AdaptiveAvgPool2d({})".format, pair | sizes()),
        st.builds("Upsample(scale_factor={}, mode='nearest')".format, sizes()),
        st.builds("Unflatten({}, {})".format, sizes(), pair),
        st.sampled_from(["ReLU(inplace=True)", "ReLU6()", "GELU(approximate='tanh')", "Softmax(dim=-1)",
                         "Flatten(1, -1)", "Identity()", "LeakyReLU(0.2)", "Hardtanh(-2.0, 2.0)",
                         "Softplus()", "ZeroPad2d((1, 0, 2, 1))", "ConstantPad2d(1, -0.5)", "GLU(1)",
                         "PixelShuffle(2)", "LocalResponseNorm(2)", "UpsamplingBilinear2d(scale_factor=2)",
                         "Fold((4, 4), 2)", "Unfold(2)", "ChannelShuffle(2)", "LPPool2d(2, 3)",
                         "CrossEntropyLoss()", "Threshold(0.1, 20)", "Tanh()", "LogSoftmax(1)"]),
    )  # fmt: skip


def chains() -> st.SearchStrategy[str]:
    def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        keys = st.text(alphabet="abcxyz_-019", min_size=1, max_size=6).map(lambda key: f"n{key}")
        named = st.dictionaries(keys, inner, min_size=1, max_size=4)
        pairs = named.map(lambda d: ", ".join(f"({key!r}, {value})" for key, value in d.items()))
        plain = st.lists(inner, min_size=1, max_size=4)
        return st.one_of(
            plain.map(lambda parts: f"nn.Sequential({', '.join(parts)})"),
            pairs.map(lambda text: f"Sequential(OrderedDict([{text}]))"),
        )

    layer = calls()
    return nested(st.one_of(layer, layer, nested(layer)))


@settings(max_examples=200, deadline=None)
@given(chains())
def test_printed_and_source_text_give_the_same_model(text: str) -> None:
    layers = parse(text)
    model = build(layers)
    again = parse(source(layers))
    assert again == layers
    printed = parse(repr(model))
    for other in (build(again), build(printed)):
        assert shapes(other) == shapes(model)
        assert repr(other) == repr(model)
    assert [layer.name for layer in printed] == [layer.name for layer in layers]


# --- where the text comes from ------------------------------------------------------------------


def test_arguments_files_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chain.txt").write_text("Sequential(\n  (a): ReLU()\n)\n")
    Path("layers").write_text("ELU(), SELU()")
    Path("net (1).py").write_text("from torch import nn\nx = 3\nnet = nn.Sequential(nn.Tanh())\n")
    stdin = io.StringIO("Sigmoid()\n")
    text = read(("Linear(3, 4)", "-", "layers", "chain.txt", "net (1).py"), stdin)
    assert texts(text) == [
        "Linear(3, 4)", "Sigmoid()", "ELU()", "SELU()", "Sequential(OrderedDict([(\"a\", ReLU())]))",
        "Sequential(Tanh())",
    ]  # fmt: skip
    assert names(read(("chain.txt",), stdin)) == ["a"]


def test_a_python_file_must_hold_one_sequential(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    for body, count in (("x = 1", 0), ("a = Sequential(Sequential())\nb = nn.Sequential()", 2)):
        file.write_text(body)
        with pytest.raises(UsageError, match=rf"holds {count} .*--model .*net\.py:Net"):
            read((str(file),), io.StringIO())
    file.write_text("nn.Sequential(nn.Linear(?, 3))")
    assert texts(read((str(file),), io.StringIO())) == ["Linear(?, 3)"]
    file.write_text("#" * 200_000)
    with pytest.raises(UsageError, match="longer than"):
        read((str(file),), io.StringIO())


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("bytes.txt", "missing.txt", "missing.py"):
        with pytest.raises(FileError, match="cannot read"):
            read((str(tmp_path / name),), io.StringIO())
    with pytest.raises(FileError, match="no UTF-8"):
        read(("-",), io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    assert read(("x\0y", "n" * 9999), io.StringIO()) == "x\0y\n" + "n" * 9999  # no files, then


def test_torch_is_imported_only_when_layers_are_read() -> None:
    code = "import sys, ptools.tracing.filling; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_layers_are_plain_values() -> None:
    assert parse("ReLU()")[0] == Layer("0", "ReLU")
