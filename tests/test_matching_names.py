"""ptools.matching: what is read from names - numbers, letters, kernel sizes, words - and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from ptools.matching import match
from ptools.matching.evidence import Evidence
from ptools.matching.units import backwards, units
from tests.test_matching import State, bn, conv, linear


def test_stages_and_a_list_that_counts_on() -> None:
    """Two stacks of three layers are six where lists by type count on: 1.0 is 3, not 1."""
    source: State = {}
    target: State = {}
    right = {}
    for role, out, k in (("filter", 16, 2), ("gate", 16, 2), ("skip", 32, 1), ("pass", 16, 1)):
        for i in range(6):
            source |= conv(f"{role}_convs.{i}", out, 16, k)
    for i in range(6):
        stack, layer = divmod(i, 3)
        for role, out, k in (("pass", 16, 1), ("skip", 32, 1), ("gate", 16, 2), ("filter", 16, 2)):
            target |= conv(f"stacks.{stack}.{layer}.{role}", out, 16, k)
            right[f"stacks.{stack}.{layer}.{role}.weight"] = f"{role}_convs.{i}.weight"
    assert match(source, target).mapping == right
    back = match(target, source)
    assert back.mapping == {old: new for new, old in right.items()}


def test_rows_that_begin_anew_are_in_order() -> None:
    """Of two blocks of two layers, 1.conv2 comes before 2.conv1."""
    source = linear("0", 16, 4)
    target = linear("classifier", 10, 16) | {"final.weight": (16,), "final.bias": (16,)}
    target |= {f"inner.convs.{i}.weight": (16, 17, 3, 3) for i in (0, 1)}
    for i in range(3):
        target |= {f"inner.norms.{i}.weight": (16,), f"inner.norms.{i}.bias": (16,)}
    target |= linear("stem", 16, 4)
    right = {}
    for block in (0, 1):
        old = block + 1
        for role in "ab":
            target |= conv(f"reduce.{block}.conv_{role}", 16, 16)
            right[f"reduce.{block}.conv_{role}.weight"] = f"{old}.conv{'ab'.index(role) + 1}.weight"
        target |= conv(f"reduce.{block}.skip", 16, 16, 1)
        for role in "ab":
            new = f"reduce.{block}.norm_{role}"
            target |= {f"{new}.weight": (16,), f"{new}.bias": (16,)}
            right[f"{new}.weight"] = f"{old}.norm{'ab'.index(role) + 1}.weight"
        for i in (1, 2):
            source |= {f"{old}.norm{i}.weight": (16,), f"{old}.norm{i}.bias": (16,)}
            source |= conv(f"{old}.downsample", 16, 16, 1) if i == 1 else {}
            source |= conv(f"{old}.conv{i}", 16, 16)
    for i in (1, 2, 3):
        source |= {f"3.ode.norm{i}.weight": (16,), f"3.ode.norm{i}.bias": (16,)}
        source |= {f"3.ode.conv{i}._layer.weight": (16, 17, 3, 3)} if i < 3 else {}
    source |= {"4.weight": (16,), "4.bias": (16,)} | linear("8", 10, 16)
    found = match(source, target)
    assert {key: found.mapping.get(key) for key in right} == right


def test_a_kernel_size_is_no_number() -> None:
    """conv1x3 is not before conv3x1: which of two branches is dilated must not follow from it."""
    source: State = {}
    target: State = {}
    right = {}
    for i in range(3):
        for branch, word in (("conv1", "conv"), ("conv2", "dconv")):
            for n, size in ((1, "3x1"), (2, "1x3")):
                shape = tuple(map(int, size.split("x")))
                source[f"block.{i}.{word}{size}.weight"] = (16, 1, *shape)
                target[f"body.unit{i + 1}.{branch}.branch{n}.weight"] = (16, 1, *shape)
                new = f"body.unit{i + 1}.{branch}.branch{n}.weight"
                right[new] = f"block.{i}.{word}{size}.weight"
    assert match(source, target).mapping == right


def test_letters_count_inside_of_names() -> None:
    source: State = {}
    target: State = {}
    right = {}
    for i in range(3):
        for part in ("ffb", "ffa"):  # the second is registered first
            source |= linear(f"b{i}_{part}_in", 64, 16) | linear(f"b{i}_{part}_out", 16, 64)
        for n, part in ((1, "ffa"), (2, "ffb")):
            target |= linear(f"layers.{i}.ffn{n}.net.0", 64, 16)
            target |= linear(f"layers.{i}.ffn{n}.net.3", 16, 64)
            for place, role in ((0, "in"), (3, "out")):
                for leaf in ("weight", "bias"):
                    new = f"layers.{i}.ffn{n}.net.{place}.{leaf}"
                    right[new] = f"b{i}_{part}_{role}.{leaf}"
    assert match(source, target).mapping == right


def test_what_is_attended_to_comes_after_oneself() -> None:
    """attn_1 looks at the decoder itself, attn_2 at what the encoder gave, in whatever order."""
    source: State = {}
    target: State = {}
    right = {}
    for i in range(3):
        for role in "kqv":
            for n in (1, 2):
                source |= linear(f"layers.{i}.attn_{n}.{role}_lin", 16, 16)
        for n, word in ((2, "src_attn"), (1, "self_attn")):
            for role in "qkv":
                target |= linear(f"layers.{i}.{word}.{role}", 16, 16)
                for leaf in ("weight", "bias"):
                    right[f"layers.{i}.{word}.{role}.{leaf}"] = (
                        f"layers.{i}.attn_{n}.{role}_lin.{leaf}"
                    )
    source = dict(sorted(source.items()))
    assert match(source, target).mapping == right


def test_gate_and_up_are_the_first_two_of_three() -> None:
    source: State = {}
    target: State = {}
    right = {}
    for i in range(3):
        for role in ("up_proj", "gate_proj"):
            source[f"layers.{i}.mlp.{role}.weight"] = (64, 16)
        source[f"layers.{i}.mlp.down_proj.weight"] = (16, 64)
        for role, old in (("fc_1", "gate_proj"), ("fc_2", "up_proj"), ("proj", "down_proj")):
            target[f"h.{i}.mlp.{role}.weight"] = (16, 64) if role == "proj" else (64, 16)
            right[f"h.{i}.mlp.{role}.weight"] = f"layers.{i}.mlp.{old}.weight"
    assert match(source, target).mapping == right


@pytest.mark.parametrize("shape", [(16,), (1, 16, 1)])
def test_scale_and_offset_by_their_own_names(shape: tuple[int, ...]) -> None:
    """A module with alpha and beta, and aff1_alpha, aff1_beta in the layer itself, are one thing."""
    source: State = {}
    target: State = {}
    for i in range(3):
        source |= {f"blocks.{i}.ls{n}": (16,) for n in (1, 2)}
        target |= {f"layers.{i}.gamma_{word}": (16,) for word in ("tokens", "channels")}
        for n in (1, 2):
            for leaf in ("alpha", "beta"):
                source[f"blocks.{i}.norm{n}.{leaf}"] = shape
                target[f"layers.{i}.aff{n}_{leaf}"] = (16,)
        source |= linear(f"blocks.{i}.mix", 8, 8) | linear(f"blocks.{i}.fc", 16, 16)
        target |= linear(f"layers.{i}.tokens", 8, 8) | linear(f"layers.{i}.ff", 16, 16)
    found = match(source, target)
    for i in range(3):
        for n in (1, 2):
            for leaf in ("alpha", "beta"):
                assert found.mapping[f"layers.{i}.aff{n}_{leaf}"] == f"blocks.{i}.norm{n}.{leaf}"


def test_a_parametrization_that_keeps_the_weight_itself() -> None:
    source = conv("block.0", 8, 1) | conv("block.1", 16, 8) | linear("out", 3, 16)
    target: State = {"spatial.parametrizations.weight.original": (16, 8, 3, 3)}
    target |= conv("temporal", 8, 1) | linear("final", 3, 16)
    found = match(source, target)
    assert found.verdict == "complete"
    assert found.mapping["spatial.parametrizations.weight.original"] == "block.1.weight"


def test_the_very_name_decides() -> None:
    """Of a class token and a mask token, of one shape, the target has the first."""
    source: State = {"embeddings.cls_token": (1, 1, 48), "embeddings.mask_token": (1, 1, 48)}
    source |= {"embeddings.register_tokens": (1, 4, 48)}
    source |= conv("embeddings.patch_embeddings", 48, 3, 16)
    target: State = {"cls_token": (1, 1, 48), "reg_token": (1, 4, 48)}
    target |= conv("patch_embed.proj", 48, 3, 16)
    for i in range(3):
        old, new = f"model.layer.{i}", f"blocks.{i}"
        target |= {f"{new}.gamma_1": (48,), f"{new}.gamma_2": (48,)}
        for n in (1, 2):
            source |= {f"{old}.norm{n}.weight": (48,), f"{old}.norm{n}.bias": (48,)}
            target |= {f"{new}.norm{n}.weight": (48,), f"{new}.norm{n}.bias": (48,)}
            source |= {f"{old}.layer_scale{n}.lambda1": (48,)}
        source |= {f"{old}.attention.{role}_proj.weight": (48, 48) for role in "kvqo"}
        target |= {f"{new}.attn.qkv.weight": (144, 48), f"{new}.attn.proj.weight": (48, 48)}
        source |= linear(f"{old}.mlp.up_proj", 96, 48) | linear(f"{old}.mlp.down_proj", 48, 96)
        target |= linear(f"{new}.mlp.fc1", 96, 48) | linear(f"{new}.mlp.fc2", 48, 96)
    source |= {"norm.weight": (48,), "norm.bias": (48,)}
    target |= {"norm.weight": (48,), "norm.bias": (48,)}
    found = match(source, target)
    assert found.mapping.get("cls_token") == "embeddings.cls_token"


def test_the_last_norm_of_a_network_that_was_cut() -> None:
    """Two of six blocks, the norm after them, another head: the norm is the only one outside of blocks."""
    source: State = {"embed.weight": (50, 16)}
    for i in range(6):
        source |= {f"blocks.{i}.ln.weight": (16,), f"blocks.{i}.ln.bias": (16,)}
        source |= linear(f"blocks.{i}.mlp.0", 64, 16) | linear(f"blocks.{i}.mlp.2", 16, 64)
    source |= {"output_layer_norm.weight": (16,), "output_layer_norm.bias": (16,)}
    source |= linear("lm_head", 50, 16)
    target: State = {"wte.weight": (50, 16)}
    for i in range(2):
        target |= linear(f"h.{i}.up", 64, 16) | linear(f"h.{i}.down", 16, 64)
        target |= {f"h.{i}.norm.weight": (16,), f"h.{i}.norm.bias": (16,)}
    target |= {"ln_f.weight": (16,), "ln_f.bias": (16,)} | linear("classify", 3, 16)
    found = match(source, target)
    assert found.mapping["ln_f.weight"] == "output_layer_norm.weight"
    assert "classify.weight" in found.unmatched


def test_two_networks_in_a_row_are_copies() -> None:
    """The layers 1 to 3 of a twin critic, and 4 to 6: which of the two is meant, nothing says."""
    source: State = {}
    for n in (1, 4):
        source |= linear(f"l{n}", 64, 23) | linear(f"l{n + 1}", 64, 64) | linear(f"l{n + 2}", 1, 64)
    target = linear("linear1", 64, 23) | linear("linear2", 64, 64) | linear("linear3", 1, 64)
    found = match(source, target)
    assert found.verdict == "ambiguous"
    assert found.ambiguous["linear2.weight"] == ["l2.weight", "l5.weight"]
    assert not found.mapping
    hinted = match(source, target, hints=[("linear1", "l4")])
    assert hinted.mapping["linear3.bias"] == "l6.bias" and not hinted.ambiguous
    named = match(source, linear("l1", 64, 23) | linear("l2", 64, 64) | linear("l3", 1, 64))
    assert named.mapping["l2.weight"] == "l2.weight"
    blocks = match(  # blocks that repeat are no copies: these are the first two of six
        {key: shape for i in range(6) for key, shape in linear(f"layers.{i}", 16, 16).items()},
        linear("net.0", 16, 16) | linear("net.1", 16, 16),
    )
    assert "net.0.weight" not in blocks.ambiguous or len(blocks.ambiguous["net.0.weight"]) > 2


def test_a_layer_with_a_bias_on_one_side_only_does_not_make_two_networks_of_one() -> None:
    source: State = {}
    target: State = {}
    for i, width in enumerate((8, 16, 24, 32)):
        for j in range(4):
            source |= conv(f"up{i}.ops.{j}.conv_block.conv", width, width)
            source |= bn(f"up{i}.ops.{j}.conv_block.adn.N", width)
            target |= conv(f"up{i}.ops.{j}.conv", width, width) | bn(f"up{i}.ops.{j}.bn1", width)
            if j == 3:
                target[f"up{i}.ops.{j}.conv.bias"] = (width,)
    found = match(source, target)
    assert found.verdict == "partial"
    for i in range(4):
        old = f"up{i}.ops.0.conv_block.conv.weight"
        assert found.mapping[f"up{i}.ops.0.conv.weight"] == old
        assert f"up{i}.ops.3.conv.weight" in found.unmatched, (
            "a module is loaded whole or not at all"
        )
        assert f"up{i}.ops.3.bn1.weight" in found.mapping


def test_layers_that_lack_a_bias_are_named_as_the_reason() -> None:
    """Nearly all convolutions of the one have a bias, and none of the other's."""
    source: State = {}
    target: State = {}
    for i in range(8):
        source |= linear(f"layers.{i}.conv", 16 + i, 15 + i) | bn(f"layers.{i}.bn", 16 + i)
        target |= {f"net.{i}.c.weight": (16 + i, 15 + i)} | bn(f"net.{i}.n", 16 + i)
    found = match(source, target)
    assert found.verdict == "different"
    assert found.unmatched["net.0.c.weight"].startswith("8 layers would fit, but only one side's")


def test_a_linear_over_the_pixels_of_a_patch_may_count_them_otherwise() -> None:
    """(48, 3, 8, 8) has as many numbers as (48, 192), in an order that nothing tells; grey has one."""
    for colours, loaded in ((3, False), (1, True)):
        source = {"embed.weight": (48, colours, 8, 8), "embed.bias": (48,)}
        target = {"patch.2.weight": (48, 64 * colours), "patch.2.bias": (48,)}
        for i in range(3):
            source |= linear(f"layer.{i}.fc1", 64, 48) | linear(f"layer.{i}.fc2", 48, 64)
            target |= linear(f"blocks.{i}.up", 64, 48) | linear(f"blocks.{i}.down", 48, 64)
        found = match(source, target)
        assert ("patch.2.weight" in found.mapping) is loaded
        assert loaded or "another order" in found.unmatched["patch.2.weight"]


def test_names_that_say_the_opposite() -> None:
    """Registered the other way round, source and target of an edge are still what they are called."""
    source: State = {}
    target: State = {}
    right: dict[str, str] = {}
    for i in range(6):
        source |= {f"gat.{i}.score_{word}": (1, 4, 4) for word in ("target", "source")}
        target |= {f"convs.{i}.att_{word}": (1, 4, 4) for word in ("src", "dst")}
        right |= {f"convs.{i}.att_src": f"gat.{i}.score_source"}
        right |= {f"convs.{i}.att_dst": f"gat.{i}.score_target"}
        source |= {f"gat.{i}.bias": (16,), f"gat.{i}.proj.weight": (16, 16)}
        target |= {f"convs.{i}.bias": (16,), f"convs.{i}.lin.weight": (16, 16)}
    found = match(source, target)
    assert {key: found.mapping.get(key) for key in right} == right


def test_a_name_that_fits_its_neighbour_better_is_not_certain() -> None:
    """Order alone would be certain here; that the names contradict it leaves it likely at most."""
    source: State = {}
    target: State = {}
    for i in range(8):
        source |= linear(f"net.{i}.gate", 16, 16) | linear(f"net.{i}.cell", 16, 16)
        target |= linear(f"body.{i}.cells", 16, 16) | linear(f"body.{i}.gates", 16, 16)
        source |= linear(f"net.{i}.mix", 16, 8) | linear(f"net.{i}.out", 8, 16)
        target |= linear(f"body.{i}.a", 16, 8) | linear(f"body.{i}.b", 8, 16)
    found = match(source, target)
    for i in range(8):
        for word in ("cell", "gate"):
            key = f"body.{i}.{word}s.weight"
            if found.mapping.get(key) != f"net.{i}.{word}.weight":
                assert found.confidence.get(key) != "certain"


def test_a_layer_comes_from_one_tower_whole() -> None:
    """Beside a text tower stand others of its width: its norms are not taken from there."""
    source: State = {}
    target: State = {}
    right: dict[str, str] = {}
    for tower, layer, norm in (("vision", "layers", "ln"), ("audio", "blocks", "norm")):
        for i in range(4):
            source |= {f"model.{tower}.{layer}.{i}.{norm}{n}.weight": (16,) for n in (1, 2)}
            source |= linear(f"model.{tower}.{layer}.{i}.qkv", 60, 20)
    for i in range(4):
        old, new = f"model.text.encoder.layers.{i}", f"layers.{i}"
        for role, other in (("q", "q"), ("k", "k"), ("v", "v"), ("out", "output")):
            source |= linear(f"{old}.self_attn.{role}_proj", 16, 16)
            target |= linear(f"{new}.attn.{other}_proj", 16, 16)
        source |= linear(f"{old}.mlp.fc1", 64, 16) | linear(f"{old}.mlp.fc2", 16, 64)
        target |= linear(f"{new}.mlp.w1", 64, 16) | linear(f"{new}.mlp.w2", 16, 64)
        for n, name in ((1, "sa_norm"), (2, "mlp_norm")):
            source |= {f"{old}.layer_norm{n}.weight": (16,)}
            target |= {f"{new}.{name}.weight": (16,)}
            right[f"{new}.{name}.weight"] = f"{old}.layer_norm{n}.weight"
    found = match(source, target)
    assert {key: found.mapping.get(key) for key in right} == right


def seq2seq() -> tuple[State, State, dict[str, str]]:
    """Return a whole transformer, the encoder of another author, and where that stands in the first."""
    whole: State = {}
    alone: State = {}
    right: dict[str, str] = {}
    for part, attentions in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "src_attn"))):
        for i in range(3):
            name = f"{part}.layers.{i}"
            for attention in attentions:
                for k in range(4):
                    whole |= linear(f"{name}.{attention}.linears.{k}", 16, 16)
            whole |= linear(f"{name}.feed_forward.w_1", 64, 16)
            whole |= linear(f"{name}.feed_forward.w_2", 16, 64)
            for k in range(len(attentions) + 1):
                norm = f"{name}.sublayer.{k}.norm"
                whole |= {f"{norm}.a_2": (16,), f"{norm}.b_2": (16,)}
        whole |= {f"{part}.norm.a_2": (16,), f"{part}.norm.b_2": (16,)}
    whole |= {"src_embed.0.lut.weight": (99, 16), "tgt_embed.0.lut.weight": (88, 16)}
    whole |= linear("generator.proj", 88, 16)
    alone |= {"embed.embed.weight": (99, 16)}
    for i in range(3):
        old, new = f"encoder.layers.{i}", f"layers.{i}"
        for k in (1, 2):
            alone |= {f"{new}.norm_{k}.alpha": (16,), f"{new}.norm_{k}.bias": (16,)}
            right[f"{new}.norm_{k}.alpha"] = f"{old}.sublayer.{k - 1}.norm.a_2"
        for k, word in ((0, "q_linear"), (2, "v_linear"), (1, "k_linear"), (3, "out")):
            alone |= linear(f"{new}.attn.{word}", 16, 16)
            right[f"{new}.attn.{word}.weight"] = f"{old}.self_attn.linears.{k}.weight"
        alone |= linear(f"{new}.ff.linear_1", 64, 16) | linear(f"{new}.ff.linear_2", 16, 64)
        right[f"{new}.ff.linear_1.weight"] = f"{old}.feed_forward.w_1.weight"
    alone |= {"norm.alpha": (16,), "norm.bias": (16,)}
    return whole, alone, right


def test_an_encoder_is_found_in_an_encoder_and_not_in_parts_of_a_decoder() -> None:
    """The layers of the decoder have all that those of the encoder have, and more."""
    whole, alone, right = seq2seq()
    found = match(whole, alone)
    assert {key: found.mapping.get(key) for key in right} == right


def test_an_encoder_is_put_into_an_encoder() -> None:
    whole, alone, right = seq2seq()
    found = match(alone, whole)
    back = {old: new for new, old in right.items()}
    assert {key: found.mapping.get(key) for key in back} == back
    assert not any(key.startswith("decoder") for key in found.mapping)


def test_what_is_said_does_not_depend_on_what_was_asked_before() -> None:
    """Of two assignments that give the same sources to other targets, one after the other."""
    whole, alone, _ = seq2seq()
    sources, targets = units(alone), units(whole)
    by_shape: dict[object, list[int]] = {}
    for unit in targets:
        by_shape.setdefault(unit.signature, []).append(unit.index)
    first, last = np.full(len(targets), -1), np.full(len(targets), -1)
    for places, step in ((first, 1), (last, -1)):
        free = {kind: iter(found[::step]) for kind, found in by_shape.items()}
        for unit in sources:
            places[next(free[unit.signature])] = unit.index
    evidence = Evidence(sources, targets)
    for around in (False, True):
        for places in (first, last, first):
            fresh = Evidence(sources, targets).judge(places)[1]
            assert evidence.judge(places)[1] == pytest.approx(fresh)
        if not around:
            evidence.around(first)


def test_levels_that_one_counts_from_within() -> None:
    """up.2 of a U-Net is run first, and is the beginning of the list of the other author."""
    source: State = {}
    target: State = {}
    right: dict[str, str] = {}
    parts = (("norm1", "block1.0"), ("conv1", "block1.2"), ("temb_proj", "temb_proj.1"),
             ("norm2", "block2.0"), ("conv2", "block2.3"), ("nin_shortcut", "shortcut"))  # fmt: skip

    def tensors(name: str, kind: str, into: int, out: int) -> State:
        if kind.startswith("norm"):
            width = into if kind == "norm1" else out
            return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
        size = 1 if kind == "nin_shortcut" else 3
        width = out if kind == "conv2" else into
        layer = linear(name, out, 256) if kind == "temb_proj" else conv(name, out, width, size)
        return layer | {f"{name}.bias": (out,)}

    for side, state in (("down", source), ("downblocks", target)):
        for level in range(3):
            for block in range(2):
                at = f"{level}.block.{block}" if side == "down" else f"{3 * level + block}"
                for ours, theirs in parts[:-1]:
                    name = f"{side}.{at}.{ours if side == 'down' else theirs}"
                    state |= tensors(name, ours, 128, 128)
    for level in range(3):
        for block in range(3):
            for ours, _ in parts:
                wide = (256, 128) if level else (192, 64)
                source |= tensors(f"up.{level}.block.{block}.{ours}", ours, *wide)
        if level:
            source |= conv(f"up.{level}.upsample.conv", 128, 128)
    for place, level in enumerate((2, 1, 0)):
        for block in range(3):
            for ours, theirs in parts:
                new = f"upblocks.{4 * place + block}.{theirs}"
                target |= tensors(new, ours, *((256, 128) if level else (192, 64)))
                right[f"{new}.weight"] = f"up.{level}.block.{block}.{ours}.weight"
        if level:
            target |= conv(f"upblocks.{4 * place + 3}.main", 128, 128)
    found = match(source, target)
    assert all(found.mapping.get(key, old) == old for key, old in right.items())
    assert sum(key in found.mapping for key in right) > 0.8 * len(right)


def test_blocks_are_turned_round_by_one_of_their_numbers() -> None:
    """What is in a block keeps its order; what has no such number keeps its place."""
    state = linear("stem", 4, 3)
    for level in range(3):
        for block in range(2):
            state |= linear(f"up.{level}.block.{block}", 4, 4)
    whole = units(state | linear("head", 2, 4))
    names = [[".".join(whole[i].path) for i in backwards(whole, depth)] for depth in (1, 2, 3)]
    assert names[0] == ["stem", *(f"up.{a}.block.{b}" for a in (2, 1, 0) for b in (0, 1)), "head"]
    assert names[1] == ["stem", *(f"up.{a}.block.{b}" for a in (0, 1, 2) for b in (1, 0)), "head"]
    assert names[2] == [".".join(unit.path) for unit in whole]


def test_fewer_layers_go_to_the_first_of_more() -> None:
    source: State = {"embed.weight": (99, 16)}
    target: State = {"tok_emb.weight": (99, 16)}
    for i in range(3):
        source |= linear(f"model.layers.{i}.q_proj", 16, 16) | linear(
            f"model.layers.{i}.up", 64, 16
        )
    for i in range(5):
        target |= linear(f"blocks.{i}.W_query", 16, 16) | linear(f"blocks.{i}.fc1", 64, 16)
    for norm, state in (("model.norm", source), ("final_norm", target)):
        state[f"{norm}.weight"] = (16,)
    found = match(source, target)
    for i in range(3):
        assert found.mapping[f"blocks.{i}.W_query.weight"] == f"model.layers.{i}.q_proj.weight"
        assert found.mapping[f"blocks.{i}.fc1.weight"] == f"model.layers.{i}.up.weight"


def test_a_letter_twice_does_not_count() -> None:
    """conv1aa stands between conv1a and conv1b in some levels, before conv6a in another."""
    source: State = {}
    target: State = {}
    right = {}
    words = ("One", "Two", "Thr", "Fou", "Fiv", "Six")
    widths = (16, 32, 64, 96, 128, 196)
    for level, (word, width) in enumerate(zip(words, widths, strict=True), start=1):
        letters = ("a", "aa", "b") if level < 6 else ("aa", "a", "b")
        for place, letter in enumerate(letters):
            old = f"moduleExtractor.module{word}.{2 * place}"
            new = f"conv{level}{letter}.0"
            into = width if place else (3, *widths)[level - 1]
            source |= conv(old, width, into) | {f"{old}.bias": (width,)}
            target |= conv(new, width, into) | {f"{new}.bias": (width,)}
            right[f"{new}.weight"] = f"{old}.weight"
    for level in range(6, 1, -1):
        for place, width in enumerate((128, 96, 64, 32)):
            old, new = f"module{words[level - 1]}.module{words[place]}.0", f"conv{level}_{place}.0"
            into = 100 * level + place
            source |= conv(old, width, into) | {f"{old}.bias": (width,)}
            target |= conv(new, width, into) | {f"{new}.bias": (width,)}
    found, back = match(source, target), match(target, source)
    assert {key: found.mapping.get(key) for key in right} == right
    assert all(back.mapping.get(old) == new for new, old in right.items())
    assert units(target)[0].tokens == ("conv", "1", "a", "0")
    assert units(conv("conv1a", 8, 8) | conv("conv1b", 8, 8))[0].tokens == ("conv", "1", "1")


def test_a_number_may_be_a_size() -> None:
    """convT_64, registered before convT1 and convT2, is no sixty-fourth layer."""
    source: State = {}
    target: State = {}
    right = {}
    encoder = ("conv1", "conv2", "conv3", "conv_64", "lin1", "lin2")
    decoder = ("lin1", "lin2", "lin3", "convT_64", "convT1", "convT2", "convT3")
    for part, names in (("encoder", encoder), ("decoder", decoder)):
        for place, name in enumerate(names):
            layer = linear if name.startswith("lin") else conv
            old, new = f"{part}.{2 * place + (place > 3)}", f"{part}.{name}"
            source |= layer(old, 32, 32)
            target |= layer(new, 32, 32)
            right[f"{new}.weight"] = f"{old}.weight"
    found = match(source, target)
    assert {key: found.mapping.get(key) for key in right} == right
    back = match(target, source)
    assert all(back.mapping.get(old) == new for new, old in right.items())


def test_a_bias_beside_its_matrix_is_of_that_layer() -> None:
    """decoder_bias is the bias of decoder, that has none, where the other side has it inside."""
    source: State = {}
    target: State = {}
    for i in range(3):
        source |= linear(f"layers.{i}.fc", 16, 16)
        target |= linear(f"blocks.{i}.dense", 16, 16)
    source |= {"decoder_bias": (99,), "decoder.weight": (99, 16)}
    target |= {"cls.predictions.bias": (99,), "cls.predictions.decoder.weight": (99, 16)}
    found = match(source, target)
    assert found.mapping["cls.predictions.bias"] == "decoder_bias"
    assert found.mapping["cls.predictions.decoder.weight"] == "decoder.weight"
    back = match(target, source)
    assert back.mapping["decoder_bias"] == "cls.predictions.bias"


def test_two_heads_of_mean_and_deviation_are_fused_each_by_itself() -> None:
    source: State = {}
    target: State = {}
    for where in ("prior", "posterior"):
        source |= linear(f"rssm.fc_{where}", 20, 24 if where == "prior" else 40)
        target |= linear(f"transition.embed_{where}", 20, 24 if where == "prior" else 40)
        for what in ("mean", "stddev"):
            source |= linear(f"rssm.fc_next_{what}_{where}", 6, 20)
        target |= linear(f"transition.fc_state_{where}", 12, 20)
    found = match(source, target)
    for where in ("prior", "posterior"):
        op, keys = found.transforms[f"transition.fc_state_{where}.weight"]
        assert op == "cat0"
        assert keys == tuple(f"rssm.fc_next_{w}_{where}.weight" for w in ("mean", "stddev"))


@pytest.mark.parametrize(
    "name",
    [
        "9" * 5000,
        "a" + "1" * 5000 + "b",
        "\u00b2\u00b3",
        "x\u0663",
        "",
        ".",
        "a..b",
        "1x" * 9000 + "1",
    ],
)
def test_strange_names_are_names(name: str) -> None:
    """A file from a stranger may call its tensors anything: numbers without end, digits of other scripts."""
    plain = {f"layer.{i}.weight": (4, 4) for i in range(11)}
    strange = plain | {f"{name}.{i}.weight": (3, 4) for i in range(2)}
    for source, target in (
        (plain, strange),
        (strange, plain),
        (strange, dict(sorted(strange.items()))),
    ):
        assert match(source, target).mapping.items() >= {("layer.3.weight", "layer.3.weight")}
