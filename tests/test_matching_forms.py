"""ptools.matching: one layer in two forms, and layers of which only one side has a bias."""

from __future__ import annotations

import pytest

from ptools.matching import Transform, match

State = dict[str, tuple[int, ...]]


def linear(name: str, out: int, into: int, *, bias: bool = True) -> State:
    return {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if bias else {})


def norm(name: str, size: int) -> State:
    return {f"{name}.{role}": (size,) for role in ("weight", "bias", "running_mean", "running_var")}


# -- lists ---------------------------------------------------------------------------------------------


def flows(*, fused: bool) -> State:
    state: State = linear("upsample", 10, 10)
    for i in range(3):
        for n in range(4):
            state |= linear(f"flow.{i}.in.{n}", 32, 16) | linear(f"flow.{i}.skip.{n}", 20, 16)
        if fused:
            state |= linear(f"flow.{i}.cond", 4 * 32, 10)
        else:
            for n in range(4):
                state |= linear(f"flow.{i}.conds.{n}", 32, 10)
    return state


def test_a_list_of_layers_is_one_layer_of_the_other_side() -> None:
    apart, fused = flows(fused=False), flows(fused=True)
    found = match(apart, fused)
    assert found.verdict == "complete"
    parts = tuple(f"flow.1.conds.{n}.bias" for n in range(4))
    assert found.transforms["flow.1.cond.bias"] == Transform("cat0", parts)
    back = match(fused, apart)
    assert back.verdict == "complete"
    assert back.transforms["flow.2.conds.3.weight"] == ("split0:3/4", ("flow.2.cond.weight",))


def test_tables_that_are_counted_by_a_letter_and_a_number_are_a_list() -> None:
    rest = linear("mlp.0", 64, 24) | linear("mlp.1", 1, 64)
    apart = {f"tables.C{n}.weight": (30, 4) for n in range(1, 7)} | rest
    found = match(apart, {"embedding.weight": (180, 4)} | rest)
    parts = tuple(f"tables.C{n}.weight" for n in range(1, 7))
    assert found.transforms["embedding.weight"] == Transform("cat0", parts)


def test_scalars_in_a_list_are_no_layers() -> None:
    state: State = {f"scales.{n}": () for n in range(4)} | linear("fc", 5, 16)
    assert match(state, state).verdict == "complete"


def test_a_list_of_parameters_holds_weights_and_their_biases() -> None:
    """parameters.4 is a matrix, parameters.5 its bias: so a network is stored that knows no modules."""
    source: State = {}
    target: State = {}
    right = {}
    for i in range(4):
        for name, out, into, bias in (
            ("fc.0", 48, 20, True), ("fc.2", 48, 48, True), ("theta", 8, 48, False), ("fore", 6, 8, True),
        ):  # fmt: skip
            target |= linear(f"blocks.{i}.{name}", out, into, bias=bias)
            for role, shape in (("weight", (out, into)), *([("bias", (out,))] if bias else [])):
                old = f"parameters.{len(source)}"
                source[old] = shape
                right[f"blocks.{i}.{name}.{role}"] = old
    assert match(source, target).mapping == right
    assert match(target, source).mapping == {old: new for new, old in right.items()}


def test_a_norm_behind_a_layer_without_a_bias_is_no_bias_of_it() -> None:
    """Sequential(Linear(bias=False), RMSNorm): two modules, of one tensor each."""
    source: State = {"embed.weight": (90, 16)}
    for i in range(3):
        source |= linear(f"up.{2 * i}", 16, 16, bias=False) | {f"up.{2 * i + 1}.weight": (16,)}
    target = {key.replace("up", "layers"): shape for key, shape in source.items()}
    del target["layers.5.weight"]
    found = match(source, target)
    assert set(found.mapping) == set(target)
    assert found.confidence["layers.4.weight"] == "certain"


# -- order and orientation -------------------------------------------------------------------------------


@pytest.mark.parametrize(("fused", "sure"), [("qkv_proj", False), ("in_proj", True)])
def test_fused_as_registered_or_as_named_is_not_certain(fused: str, sure: bool) -> None:
    """Most fuse query, key, value; some as they are registered: key, value, query."""
    source: State = {"embed.weight": (90, 16)}
    target: State = {"embed.weight": (90, 16)}
    joint = "_" if fused == "in_proj" else "."
    for i in range(3):
        for name in "kvq":
            source |= linear(f"layers.{i}.attn.{name}_proj", 16, 16)
        target |= {f"layers.{i}.attn.{fused}{joint}weight": (48, 16)}
        target |= {f"layers.{i}.attn.{fused}{joint}bias": (48,)}
        for state in (source, target):
            state |= linear(f"layers.{i}.fc1", 64, 16) | linear(f"layers.{i}.fc2", 16, 64)
    for found, key in (
        (match(source, target), f"layers.1.attn.{fused}{joint}weight"),
        (match(target, source), "layers.1.attn.q_proj.weight"),
    ):
        assert key in found.transforms
        assert (found.confidence[key] == "certain") is sure
        assert found.confidence["layers.1.fc1.weight"] == "certain"
    assert match(source, target).transforms[f"layers.0.attn.{fused}{joint}bias"].sources == tuple(
        f"layers.0.attn.{name}_proj.bias" for name in "qkv"
    )


@pytest.mark.parametrize(
    ("registered", "whole", "order", "sure"),
    [
        (("gate_proj", "up_proj"), "gate_up_proj", ("gate_proj", "up_proj"), "certain"),
        (("key", "query", "value"), "keyqueryvalue", ("key", "query", "value"), "certain"),
        (("q_proj", "k_proj", "v_proj"), "kqv_proj", ("k_proj", "q_proj", "v_proj"), "likely"),
        (("ix", "fx", "ux", "ox"), "ioux", ("ix", "ox", "ux"), "likely"),
    ],
)
def test_a_name_that_spells_others_is_all_of_them(
    registered: tuple[str, ...], whole: str, order: tuple[str, ...], sure: str
) -> None:
    """In the order that it spells; where the file has another, that is likely only."""
    apart, fused = linear("embed", 50, 24), linear("embed", 50, 24)
    for i in range(3):
        for part in registered:
            apart |= linear(f"layers.{i}.{part}", 32, 24)
        fused |= linear(f"layers.{i}.{whole}", 32 * len(order), 24)
        for part in set(registered) - set(order):
            fused |= linear(f"layers.{i}.{part}", 32, 24)
        apart |= linear(f"layers.{i}.down", 24, 32)
        fused |= linear(f"layers.{i}.down", 24, 32)
    found = match(apart, fused)
    assert found.verdict == "complete"
    for role in ("weight", "bias"):
        parts = tuple(f"layers.1.{part}.{role}" for part in order)
        assert found.transforms[f"layers.1.{whole}.{role}"] == Transform("cat0", parts)
        assert found.confidence[f"layers.1.{whole}.{role}"] == sure
    back = match(fused, apart)
    split = Transform(f"split0:1/{len(order)}", (f"layers.2.{whole}.bias",))
    assert back.transforms[f"layers.2.{order[1]}.bias"] == split


def test_half_of_a_small_network_found_whole_under_one_name_is_a_part_of_it() -> None:
    cell = linear("ix", 40, 50) | linear("ih", 40, 40) | linear("fx", 40, 50) | linear("fh", 40, 40)
    own = linear("emb", 200, 50, bias=False) | linear("similarity.a", 30, 80)
    new = linear("output.l1", 3, 40) | linear("head.l1", 5, 40) | linear("head.l2", 7, 5)
    source = own | {f"encoder.cell.{key}": shape for key, shape in cell.items()}
    target = {f"tree.{key}": shape for key, shape in cell.items()} | new
    found = match(source, target)
    assert found.verdict == "partial"
    assert found.mapping == {f"tree.{key}": f"encoder.cell.{key}" for key in cell}


def test_a_row_for_a_bias_tells_how_a_square_matrix_is_stored() -> None:
    """x @ w + b, with b of shape (1, out): w is (in, out)."""
    rest = linear("fc", 5, 48) | {"embed.weight": (90, 30)}
    source = linear("attention", 40, 40) | rest
    target: State = {"word_weight": (40, 40), "word_bias": (1, 40)} | rest
    found = match(source, target)
    assert found.transforms["word_weight"] == Transform("transpose", ("attention.weight",))
    assert found.confidence["word_weight"] == "likely"
    target = {
        "attention.parametrizations.weight.original": (40, 40),
        "attention.bias": (40,),
    } | rest
    assert match(source, target).confidence["attention.bias"] == "certain"  # a module of torch
    target = {"word_weight": (40, 40), "word_bias": (40,)} | rest  # it may be either
    assert match(source, target).confidence["word_weight"] == "likely"


# -- one bias only ---------------------------------------------------------------------------------------


def blocks(*, bias: bool, words: tuple[str, str, str]) -> State:
    stem, conv, bn = words
    state: State = linear(stem, 16, 3, bias=bias) | norm(f"{stem}_{bn}", 16)
    for i in range(3):
        for n in (1, 2):
            state |= linear(f"layer{i}.{conv}{n}", 16, 16, bias=bias)
            state |= norm(f"layer{i}.{bn}{n}", 16)
    return state | linear("head", 5, 16)


def test_a_layer_but_for_a_bias_is_not_loaded_but_offered() -> None:
    bare = blocks(bias=False, words=("stem", "conv", "bn"))
    full = blocks(bias=True, words=("begin", "c", "norm"))
    found = match(bare, full)
    assert (found.verdict, found.mapping) == ("different", {})
    assert "only one side's have a bias" in found.unmatched["layer1.c1.weight"]
    assert found.offers["layer1.c2.weight"] == Transform("bias", ("layer1.conv2.weight",))
    assert found.offers["layer1.c2.bias"] == Transform("bias", ("layer1.conv2.weight",))
    assert found.offers["head.bias"] == Transform("bias", ("head.bias",))
    assert len(found.offers) == len(full)
    back = match(full, bare)
    assert back.offers["layer2.conv1.weight"] == Transform("bias", ("layer2.c1.weight",))
    assert len(back.offers) == len(bare)


def test_where_one_layer_lacks_a_bias_the_others_are_loaded() -> None:
    full = blocks(bias=True, words=("begin", "c", "norm"))
    other = blocks(bias=True, words=("stem", "conv", "bn"))
    del other["layer1.conv1.bias"]
    found = match(full, other)
    assert found.verdict == "partial"
    assert found.unmatched == {
        "layer1.conv1.weight": "the source's has a bias too: a module is loaded whole or not at all"
    }
    assert found.offers == {"layer1.conv1.weight": Transform("bias", ("layer1.c1.weight",))}


def test_of_networks_that_are_different_no_bias_is_offered() -> None:
    source = blocks(bias=False, words=("stem", "conv", "bn"))
    target: State = {}
    for i in range(6):
        target |= linear(f"mlp.{i}.up", 16, 16) | linear(f"mlp.{i}.gate", 64, 16)
        target |= linear(f"mlp.{i}.down", 16, 64)
    found = match(source, target)
    assert (found.verdict, found.offers) == ("different", {})


# -- what is no layer --------------------------------------------------------------------------------------


def test_a_head_for_other_classes_and_buffers_are_no_holes() -> None:
    """Of 32 layers the first 16, and another head: the rest is the same network."""
    source: State = {f"convs.{n}.weight": (32, 32) for n in range(32)}
    source |= linear("fcs.0", 32, 50) | linear("fcs.1", 7, 32)
    target: State = linear("lins.0", 32, 50) | linear("lins.1", 3, 32)
    target |= {f"convs.{n}.weight1": (32, 32) for n in range(16)}
    found = match(source, target)
    assert {found.mapping[f"convs.{n}.weight1"] for n in range(16)} == {
        f"convs.{n}.weight" for n in range(16)
    }
    assert "lins.1.weight" not in found.mapping
