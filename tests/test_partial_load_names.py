"""ptools partial-load, told by hand: --map, --rename, --strip, --only, --skip, --first, --map-file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptools.testing import Result, Run

State = dict[str, Tensor]


def state(seed: int, **shapes: tuple[int, ...]) -> State:
    torch.manual_seed(seed)
    return {name.replace("__", "."): torch.randn(shape) for name, shape in shapes.items()}


OLD = {
    "enc__0__weight": (8, 4),
    "enc__0__bias": (8,),
    "enc__1__weight": (8, 8),
    "enc__1__bias": (8,),
    "fc__weight": (10, 8),
    "fc__bias": (10,),
}
NEW = {
    "dec__0__weight": (8, 4),
    "dec__0__bias": (8,),
    "dec__1__weight": (8, 8),
    "dec__1__bias": (8,),
    "head__weight": (10, 8),
    "head__bias": (10,),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.save(state(1, **OLD), "old.pth")
    torch.save(state(2, **NEW), "new.pth")
    return tmp_path


def run(ptools: Run, *args: str) -> Result:
    return ptools("partial-load", "old.pth", "new.pth", "--force", *args)


def loaded() -> dict[str, str]:
    """Which tensor of OLD each tensor of the result is; those of NEW itself are left out."""
    found = torch.load("new.loaded.pth", weights_only=True)
    old = torch.load("old.pth", weights_only=True)
    pairs = ((new, name) for new, value in found.items() for name, v in old.items()
             if v.numel() == value.numel() and torch.equal(v.reshape(value.shape), value))  # fmt: skip
    return dict(pairs)


def refused(done: Result, *says: str, code: int = 2) -> None:
    assert done.exit_code == code, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for text in says:
        assert text in done.stderr
    assert not Path("new.loaded.pth").exists()


def test_a_tensor_and_a_module_by_name(place: Path, ptools: Run) -> None:
    done = run(ptools, "--map", "head=fc", "--map", "dec.0.bias = enc.1.bias", "--only", "head")
    assert done.exit_code == 0, done.stderr
    assert {"head.weight": "fc.weight", "dec.0.bias": "enc.1.bias"}.items() <= loaded().items()
    assert "--map" in done.stdout
    assert "given" in done.stdout


def test_a_module_is_mapped_without_the_counter_that_old_has_not(place: Path, ptools: Run) -> None:
    norm = torch.nn.BatchNorm1d(3).state_dict()
    torch.save({f"a.{k}": v + 2 for k, v in norm.items() if "batches" not in k}, "old.pth")
    torch.save({f"b.{k}": v for k, v in norm.items()}, "new.pth")
    done = run(ptools, "--map", "b=a")
    assert done.exit_code == 0, done.stderr
    assert "left as they are (1)  num_batches_tracked: OLD has none" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("matched 4/4 tensors, 100.0 % of the target's")


def test_one_source_for_two_targets_is_fine_when_it_is_said(place: Path, ptools: Run) -> None:
    maps = [f"--map=dec.{i}.bias=enc.0.bias" for i in (0, 1)]
    assert run(ptools, *maps, "--only", "*.bias").exit_code == 0
    assert loaded()["dec.0.bias"] == loaded()["dec.1.bias"] == "enc.0.bias"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("head.weight", "is no assignment: write --map NEW=OLD"),
        ("head.wieght=fc.weight", "no tensor 'head.wieght'. Did you mean 'head.weight'?"),
        ("head.weight=fc.wieght", "no tensor 'fc.wieght'. Did you mean 'fc.weight'?"),
        ("head=cf", "'cf' is none of OLD"),
        ("head=enc", "OLD has no tensor 'enc.weight'"),
        ("head.bias=fc.weight", "10x8 does not fit 10; choose another."),
        (
            "head.weight=enc.1.weight",
            "8x8 does not fit 10x8; choose another, or write 'head.weight=rows(",
        ),
        ("dec.0.weight=flip(enc.0.weight)", "no tensor 'flip(enc.0.weight)'"),
        ("dec.0.weight=cat0(enc.0.weight, enc.1.weight)", "does not go from 8x4, 8x8"),
        ("dec.1.weight=split0:0/2(enc.1.weight)", "4x8 does not fit 8x8"),
        ("head=transpose(fc)", "map its tensors"),
        ("dec.1.bias=", "no tensor ''"),
    ],
)
def test_a_map_that_cannot_be(text: str, says: str, place: Path, ptools: Run) -> None:
    refused(run(ptools, "--map", text), says)


def test_a_misfit_names_the_operation_that_would_fit(place: Path, ptools: Run) -> None:
    torch.save(state(1, a=(4, 8), b=(2, 8, 2)), "old.pth")
    torch.save(state(2, a=(8, 4), b=(8, 4)), "new.pth")
    refused(run(ptools, "--map", "a=a"), "4x8 does not fit 8x4", "'a=transpose(a)'")
    refused(run(ptools, "--map", "b=b"), "2x8x2 does not fit 8x4", "write 'b=reshape(b)'")
    done = run(ptools, "--map", "a=transpose(a)", "--map", "b=reshape(b)")
    assert done.exit_code == 0, done.stderr
    found, old = (torch.load(n, weights_only=True) for n in ("new.loaded.pth", "old.pth"))
    assert torch.equal(found["a"], old["a"].T)
    assert torch.equal(found["b"], old["b"].reshape(8, 4))


def test_operations_are_said_and_done(place: Path, ptools: Run) -> None:
    torch.save(state(1, q=(4, 4), k=(4, 4), v=(4, 4), qkv=(12, 4), g=(6, 1), u=(6, 5)), "old.pth")
    torch.save(state(2, qkv=(12, 4), q2=(4, 4), w=(6, 5)), "new.pth")
    done = run(
        ptools,
        "--map=qkv=cat0(q, k, v)",
        "--map=q2=transpose,split0:1/3(qkv)".replace("transpose,", ""),
        "--map=w=weight_norm(g, u)",
    )
    assert done.exit_code == 0, done.stderr
    for text in ("cat0(q, k, v)", "--map: cat0", "split0:1/3(qkv)", "weight_norm(g, u)"):
        assert text in done.stdout
    found, old = (torch.load(n, weights_only=True) for n in ("new.loaded.pth", "old.pth"))
    assert torch.equal(found["qkv"], torch.cat([old["q"], old["k"], old["v"]]))
    assert torch.equal(found["q2"], old["qkv"][4:8])
    assert torch.equal(found["w"], old["g"] * old["u"] / old["u"].norm(2, 1, keepdim=True))
    document = run(ptools, "--map=qkv=cat0(q, k, v)", "--json").document
    assert document["transforms"]["qkv"] == {
        "op": "cat0",
        "sources": ["q", "k", "v"],
        "what": "cat0",
    }


def test_names_of_old_are_rewritten(place: Path, ptools: Run) -> None:
    done = run(ptools, "--rename", r"^enc\.(\d)=>dec.\1", "--rename", "^fc=>head")
    assert done.exit_code == 0, done.stderr
    assert set(loaded()) == set(torch.load("new.pth", weights_only=True))
    torch.save({f"module.{k}": v for k, v in state(1, **NEW).items()}, "old.pth")
    assert run(ptools, "--strip", "module.", "--map", "head=head").exit_code == 0
    assert all(old == f"module.{new}" for new, old in loaded().items())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--strip", "model."], "no name of OLD starts so; the first is 'enc.0.weight'"),
        (["--rename", "enc"], "has no =>"),
        (["--rename", "(enc=>dec"], "re.sub"),
        (["--rename", r"enc=>\2"], "re.sub"),
        (["--rename", "nothing=>dec"], "changes no name of OLD"),
        (["--rename", r"\d=>0"], "make 'enc.0.weight' and 'enc.1.weight' both 'enc.0.weight'"),
        (["--strip", "enc.0.weight"], "narrower"),
        (["--only", "deck"], "Did you mean 'dec'?"),
        (["--skip", "head.wait"], "is no tensor or module of the target"),
        (["--hint", "dec"], "no assignment"),
        (["--hint", "dek=enc"], "the target has no module 'dek'. Did you mean 'dec'?"),
        (["--hint", "dec=emc"], "OLD has no module 'emc'. Did you mean 'enc'?"),
    ],
)
def test_names_that_cannot_be(args: list[str], says: str, place: Path, ptools: Run) -> None:
    refused(run(ptools, *args), says)


@pytest.mark.parametrize(
    ("args", "keys"),
    [
        (["--only", "dec"], {"dec.0.weight", "dec.0.bias", "dec.1.weight", "dec.1.bias"}),
        (["--only", "dec.0", "--only", "head.bias"], {"dec.0.weight", "dec.0.bias", "head.bias"}),
        (["--skip", "*.bias"], {"dec.0.weight", "dec.1.weight", "head.weight"}),
        (["--only", "dec.*", "--skip", "dec.?.bias"], {"dec.0.weight", "dec.1.weight"}),
    ],
)
def test_a_part_of_the_target(args: list[str], keys: set[str], place: Path, ptools: Run) -> None:
    torch.save(state(1, **NEW), "old.pth")
    done = run(ptools, *args)
    assert done.exit_code == 0, done.stderr
    assert set(loaded()) == keys
    assert f"left out by --only, --skip ({6 - len(keys)})" in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"matched {len(keys)}/6 tensors")


def test_the_first_ones_in_order(place: Path, ptools: Run) -> None:
    done = run(ptools, "--first", "4")
    assert done.exit_code == 0, done.stderr
    names = list(zip(state(2, **NEW), state(1, **OLD), strict=True))
    assert loaded() == dict(names[:4])
    assert "--first" in done.stdout
    assert "matched 4/6" in done.stdout


@pytest.mark.parametrize(
    ("shapes", "args", "says"),
    [
        ({**OLD, "enc__0__bias": (9,)}, ["4"], "tensor 2, dec.0.bias <- enc.0.bias"),
        ({**OLD, "enc__0__weight": (9,)}, ["4"], "leave --first out"),
        (OLD, ["7"], "take at most 6"),
    ],
)
def test_the_first_ones_do_not_fit(
    shapes: dict[str, tuple[int, ...]], args: list[str], says: str, place: Path, ptools: Run
) -> None:
    torch.save(state(1, **shapes), "old.pth")
    refused(run(ptools, "--first", *args), says)


def test_what_is_said_counts_though_the_architectures_differ(place: Path, ptools: Run) -> None:
    torch.save(state(1, a__weight=(10, 8), b=(3, 3)), "old.pth")
    assert run(ptools).exit_code == 1
    assert run(ptools, "--map", "head.weight=a.weight").exit_code == 0
    assert loaded() == {"head.weight": "a.weight"}


def map_file(**parts: Any) -> str:
    Path("map.json").write_text(json.dumps({"format": "ptools partial-load map 1", **parts}))
    return "map.json"


def test_a_map_file_is_all_that_counts(place: Path, ptools: Run) -> None:
    torch.save(state(1, **NEW), "old.pth")
    path = map_file(map={"dec.0.bias": "dec.1.bias"})
    assert run(ptools, "--map-file", path).exit_code == 0
    assert loaded() == {"dec.0.bias": "dec.1.bias"}
    assert run(ptools, "--map-file", path, "--map", "dec.1.bias=dec.0.bias").exit_code == 0
    assert loaded() == {"dec.0.bias": "dec.1.bias", "dec.1.bias": "dec.0.bias"}
    Path(path).write_text('{"head": "head"}')
    assert run(ptools, "--map-file", path).exit_code == 0
    assert loaded() == {"head.weight": "head.weight", "head.bias": "head.bias"}


def test_likely_and_ambiguous_wait_for_a_word(place: Path, ptools: Run) -> None:
    parts: dict[str, Any] = {
        "map": {"head": "fc"},
        "likely": {"dec.1.weight": "enc.1.weight"},
        "ambiguous": {"dec.0.bias": ["enc.0.bias", "enc.1.bias"]},
    }
    done = run(ptools, "--map-file", map_file(**parts))
    assert done.exit_code == 3
    assert set(loaded()) == {"head.weight", "head.bias"}
    assert "likely, not loaded without --accept likely (1)" in done.stdout
    assert "dec.0.bias <- one of (enc.0.bias, enc.1.bias), 8" in done.stdout
    assert "--map 'dec.0.bias=enc.0.bias'" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 ambiguous, 1 likely")
    done = run(ptools, "--map-file", map_file(**parts), "--accept", "likely")
    assert (done.exit_code, loaded()["dec.1.weight"]) == (3, "enc.1.weight")
    parts["ambiguous"]["dec.0.bias"] = "enc.1.bias"
    done = run(ptools, "--map-file", map_file(**parts), "--accept", "likely")
    assert (done.exit_code, loaded()["dec.0.bias"]) == (0, "enc.1.bias")
    shown = run(ptools, "--map-file", map_file(**parts), "--explain", "dec.1.weight").stdout
    assert "likely: dec.1.weight <- enc.1.weight" in shown
    assert "--accept likely" in shown


def test_nothing_certain_is_refused(place: Path, ptools: Run) -> None:
    Path("new.loaded.pth").unlink(missing_ok=True)
    likely = map_file(likely={"dec.0.bias": "enc.0.bias"})
    done = run(ptools, "--map-file", likely)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "1 tensors are likely: add --accept likely" in done.stderr
    done = run(ptools, "--map-file", map_file(ambiguous={"dec.0.bias": ["enc.0.bias"]}))
    assert "--map 'dec.0.bias=enc.0.bias'" in done.stderr
    assert "ambiguous, for you to decide (1)" in done.stdout
    assert not Path("new.loaded.pth").exists()


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        ("", 1, "is no map file"),
        ("[1]", 1, "is no map file"),
        ('{"a": 3}', 1, "'a' is not mapped to a name"),
        ('{"format": "other"}', 1, "of the format 'other'"),
        ('{"format": "ptools partial-load map 1", "map": []}', 1, "nothing in old.pth"),
        ('{"format": "ptools partial-load map 1", "map": [1]}', 1, "'map' is no object"),
        ('{"format": "ptools partial-load map 1", "ambiguous": {"a": 1}}', 1, "candidates"),
        ('{"format": "ptools partial-load map 1", "rows": {"a": 1}}', 1, "pairs"),
        ('{"head.weight": "fc.bias"}', 2, "--map-file head.weight=fc.bias: 10 does not fit 10x8"),
        ('{"hat.weight": "fc.bias"}', 2, "--map-file hat.weight=...: the target has no tensor"),
    ],
)
def test_a_map_file_that_cannot_be(
    content: str, code: int, says: str, place: Path, ptools: Run
) -> None:
    Path("map.json").write_text(content)
    refused(run(ptools, "--map-file", "map.json"), says, code=code)
