"""The transforms of a match, done with torch: against what the layers themselves compute."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ptools.errors import PtoolsError
from ptools.matching.apply import apply, known, why_not


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def test_a_copy_may_gain_and_lose_sizes_of_one() -> None:
    weight = numbers(10, 8)
    assert torch.equal(apply("copy", [weight], (10, 8)), weight)
    assert torch.equal(apply("copy", [weight], (10, 8, 1, 1))[:, :, 0, 0], weight)
    assert apply("copy", [torch.tensor(3)], ()).item() == 3
    conv = numbers(5, 2, 3, 4)
    assert torch.equal(apply("copy", [conv], (5, 24)), conv.flatten(1))
    assert torch.equal(apply("copy", [conv.flatten(1)], (5, 2, 3, 4)), conv)


@pytest.mark.parametrize(
    ("op", "shapes", "shape", "says"),
    [
        ("copy", [(10, 8)], (8, 10), "10x8 does not fit 8x10"),
        ("copy", [(4, 4)], (16,), "4x4 does not fit 16"),
        ("copy", [(4, 6)], (2, 12), "4x6 does not fit 2x12"),
        ("copy", [(4, 2, 3)], (4, 3, 2), "4x2x3 does not fit 4x3x2"),
        ("copy", [(4,), (4,)], (4,), "takes 1 source, not 2"),
        ("reshape", [(4, 4)], (15,), "has not as many elements"),
        ("cat0", [(2, 3), (2, 4)], (4, 3), "does not go from 2x3, 2x4"),
        ("cat0", [(2, 3), (2, 3)], (5, 3), "4x3 does not fit 5x3"),
        ("split0:0/3", [(10, 3)], (3, 3), "does not go"),
        ("transpose", [(2, 3, 4)], (4, 3, 2), "does not go"),
        ("transpose", [(2, 3)], (2, 3), "3x2 does not fit 2x3"),
        ("transpose,cat1", [(2, 3), (4, 5)], (3, 6), "does not go"),
        ("weight_norm", [(4, 1)], (4, 3), "takes 2 sources"),
        ("channels", [(8, 3, 7, 7)], (9, 1, 7, 7), "does not go"),
        ("channels", [(8, 3, 7, 7)], (8, 1, 5, 5), "does not go"),
        ("resize", [(1, 197, 8)], (1, 50, 9), "does not go"),
        ("resize", [(1, 12, 8)], (1, 50, 8), "does not go"),
        ("resize", [(5, 8)], (1, 5, 8), "does not go"),
        ("rows", [(10, 8)], (5, 9), "does not go"),
    ],
)
def test_what_does_not_fit_is_said(
    op: str, shapes: list[tuple[int, ...]], shape: tuple[int, ...], says: str
) -> None:
    assert says in why_not(op, shapes, shape)
    with pytest.raises(PtoolsError, match=says.split(",")[0]):
        apply(op, [torch.zeros(one) for one in shapes], shape, base=torch.zeros(shape))


def test_which_operations_are_known() -> None:
    good = "copy reshape cat0 split0:0/3 split0:2/3 transpose transpose,cat1 transpose,split0:1/2"
    assert all(known(op) for op in (*good.split(), "weight_norm", "channels", "resize", "rows"))
    assert not any(known(op) for op in ("", "cat1", "split0:3/3", "split1:0/2", "flip", "split0:"))


def test_fused_and_split_attention_are_the_inverse_of_each_other() -> None:
    parts = [numbers(4, 6) * n for n in (1, 2, 3)]
    fused = apply("cat0", parts, (12, 6))
    assert torch.equal(fused, torch.cat(parts))
    for at, part in enumerate(parts):
        assert torch.equal(apply(f"split0:{at}/3", [fused], (4, 6)), part)


def test_a_linear_stored_as_in_by_out() -> None:
    layer, x = nn.Linear(6, 4, bias=False), numbers(2, 6)
    stored = layer.weight.detach().T.contiguous()  # as GPT-2's Conv1D has it
    turned = apply("transpose", [stored], (4, 6))
    torch.testing.assert_close(nn.functional.linear(x, turned), layer(x))
    assert torch.equal(apply("transpose", [stored.reshape(6, 4, 1, 1)], (4, 6)), turned)
    assert torch.equal(apply("transpose", [stored], (4, 6, 1, 1)).flatten(1), turned)


def test_conv1d_of_gpt2_and_separate_linears() -> None:
    query, key, value = (numbers(6, 6) * n for n in (1, 2, 3))
    fused = apply("transpose,cat1", [query, key, value], (6, 18))
    x = numbers(2, 6)
    torch.testing.assert_close((x @ fused).chunk(3, 1)[1], x @ key.T)
    assert torch.equal(apply("transpose,split0:1/3", [fused], (6, 6)), key)
    below = apply("transpose,cat1", [query, key, value], (18, 6))
    assert torch.equal(below, torch.cat([query.T, key.T, value.T]))


def test_weight_norm_is_what_torch_computes() -> None:
    for module, x in ((nn.Linear(6, 4), numbers(1, 6)), (nn.Conv1d(3, 5, 2), numbers(1, 3, 4))):
        with warnings.catch_warnings(action="ignore"):
            layer: Any = nn.utils.weight_norm(module)
        with torch.no_grad():
            layer.weight_g *= 2
        made = apply("weight_norm", [layer.weight_g, layer.weight_v], tuple(layer.weight_v.shape))
        layer(x)  # computes the weight anew
        torch.testing.assert_close(made, layer.weight)


def test_zeros_are_the_bias_of_a_layer() -> None:
    made = apply("zeros", [numbers(8, 3, 5, 5).half()], (8,))
    assert (made.tolist(), made.dtype) == ([0] * 8, torch.float16)
    assert apply("zeros", [numbers(8, 3, 5, 5)], (3,)).tolist() == [0] * 3  # transposed
    assert known("zeros")
    assert why_not("zeros", [(8, 3, 5, 5)], (5,)) == "8 does not fit 5"


@pytest.mark.parametrize(("before", "after"), [(3, 1), (3, 4), (3, 6), (1, 3), (4, 3), (3, 2)])
def test_another_number_of_channels_answers_a_grey_image_as_before(before: int, after: int) -> None:
    weight = numbers(8, before, 3, 3).double()
    if before > after > 1:  # the channels that are left count for those that are gone
        weight = weight[:, :1].expand(-1, before, -1, -1)
    made = apply("channels", [weight], (8, after, 3, 3))
    grey = numbers(2, 1, 9, 9).double()
    old = nn.functional.conv2d(grey.expand(-1, before, -1, -1), weight)
    new = nn.functional.conv2d(grey.expand(-1, after, -1, -1), made)
    if before == 3 and after == 4:  # 4 of 3: one channel is there twice; right on average only
        assert made.shape == (8, 4, 3, 3)
        assert torch.equal(made[:, 3], weight[:, 0] * 0.75)
    else:
        torch.testing.assert_close(new, old)


def test_position_embeddings_keep_their_class_token() -> None:
    weight = numbers(1, 1 + 14 * 14, 8)
    made = apply("resize", [weight], (1, 1 + 16 * 16, 8))
    assert torch.equal(made[:, 0], weight[:, 0])
    grid = weight[:, 1:].reshape(1, 14, 14, 8).permute(0, 3, 1, 2)
    grid = interpolate(grid, (16, 16), mode="bicubic", antialias=True)
    torch.testing.assert_close(made[:, 1:], grid.permute(0, 2, 3, 1).reshape(1, 256, 8))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((197, 8), (50, 8)),
        ((1, 196, 8), (1, 49, 8)),
        ((1, 198, 8), (1, 258, 8)),
        ((169, 4), (529, 4)),
        ((1, 8, 14, 14), (1, 8, 7, 10)),
    ],
)
def test_position_embeddings_of_other_kinds(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    made = apply("resize", [torch.ones(old, dtype=torch.float16)], new)
    assert (made.shape, made.dtype) == (new, torch.float16)
    torch.testing.assert_close(made, torch.ones_like(made))


def test_rows_of_shared_classes() -> None:
    source, base = numbers(10, 4), torch.zeros(3, 4)
    made = apply("rows", [source], (3, 4), base=base, rows=[(2, 7), (0, 1)])
    assert torch.equal(made, torch.stack([source[1], base[1], source[7]]))
    assert not base.any(), "the target's own tensor is left as it is"
    assert torch.equal(apply("rows", [source[:, 0]], (3,), base=base[:, 0], rows=[])[1], base[1, 0])
