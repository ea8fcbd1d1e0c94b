"""ptools partial-load: what it writes, prints and refuses. Real files, the command as a user runs it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ptools.testing import Result, Run
from tests.test_output import on_terminal

State = dict[str, Tensor]


def backbone(classes: int, seed: int, channels: int = 3) -> State:
    """A convolution, a BatchNorm and a head, by the names of their attributes."""
    torch.manual_seed(seed)
    net = nn.Module()
    net.conv1 = nn.Conv2d(channels, 8, 3)
    net.bn1 = nn.BatchNorm2d(8)
    net.fc = nn.Linear(8, classes)
    with torch.no_grad():
        for value in net.buffers():
            value.add_(seed)
    return dict(net.state_dict())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with old.pth (10 classes, nested) and net.pth (3 classes), to work in."""
    monkeypatch.chdir(tmp_path)
    torch.save({"epoch": 3, "state_dict": backbone(10, 1)}, "old.pth")
    torch.save(backbone(3, 2), "net.pth")
    return tmp_path


def load(path: str) -> Any:
    return torch.load(path, weights_only=True)


def assert_loaded(found: State, keys: str = "conv1 bn1") -> None:
    """The modules named are those of OLD, all else is as in NEW, with its dtypes and order."""
    old, new = backbone(10, 1), backbone(3, 2)
    assert list(found) == list(new)
    for key, value in found.items():
        wanted = old if key.split(".")[0] in keys.split() else new
        assert torch.equal(value, wanted[key]), key


def one_line(done: Result, code: int, *says: str) -> None:
    assert done.exit_code == code, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for text in says:
        assert text in done.stderr


def test_the_backbone_is_loaded_and_the_new_head_is_kept(place: Path, ptools: Run) -> None:
    before = [Path(name).read_bytes() for name in ("old.pth", "net.pth")]
    done = ptools("partial-load", "old.pth", "net.pth")
    assert done.exit_code == 0, done.stderr
    assert_loaded(load("net.loaded.pth"))
    assert [Path(name).read_bytes() for name in ("old.pth", "net.pth")] == before
    assert sorted(os.listdir()) == ["net.loaded.pth", "net.pth", "old.pth"]  # noqa: PTH208
    assert done.stderr == "Wrote net.loaded.pth\n"


def test_the_report(place: Path, ptools: Run) -> None:
    lines = ptools("partial-load", "old.pth", "net.pth").stdout.splitlines()
    assert lines[:3] == [
        "from  old.pth: state_dict, 9 tensors",
        "      beside it: epoch",
        "into  net.pth, 9 tensors",
    ]
    text = "\n".join(lines)
    assert re.search(r"^conv1 +conv1 +8x3x3x3 +same name +certain$", text, re.M)
    assert re.search(r"^bn1 +bn1 +8 +same name +certain$", text, re.M)
    assert "skipped (2)" in lines
    assert re.search(r"^  fc\.weight +3x8 +.*fc\.weight 10x8", text, re.M)
    assert "unused of OLD (2)  fc" in lines
    assert lines[-1] == "matched 7/9 tensors, 89.9 % of the target's parameters, 0 ambiguous"


def test_json_is_one_document_with_everything(place: Path, ptools: Run) -> None:
    found = ptools("partial-load", "old.pth", "net.pth", "--freeze", "loaded", "--json").document
    assert found["old"]["key"] == "state_dict"
    assert found["old"]["metadata"] == ["epoch"]
    assert found["new"]["file"] == "net.pth"
    assert found["verdict"] == "partial"
    assert found["mapping"]["conv1.weight"] == "conv1.weight"
    assert found["confidence"]["bn1.running_var"] == "certain"
    left = found["unmatched"]["fc.weight"]
    assert (left["shape"], left["old"], left["old_shape"]) == ([3, 8], "fc.weight", [10, 8])
    assert found["unused"] == ["fc.weight", "fc.bias"]
    assert found["counts"]["matched"] == 7
    assert found["counts"]["parameters_matched"] == 240
    assert found["freeze"]["eval"] == ["bn1"]
    assert found["written"] == ["net.loaded.pth", "net.loaded.freeze.json"]
    assert {"transforms", "likely", "ambiguous", "offers", "rules", "conversions"} <= set(found)


@pytest.mark.parametrize(
    ("name", "out"),
    [
        ("net.pth", "net.loaded.pth"),
        ("net.pth.tar", "net.loaded.pth.tar"),
        ("a.b.pt", "a.b.loaded.pt"),
        ("net", "net.loaded"),
    ],
)
def test_the_name_of_what_is_written(name: str, out: str, place: Path, ptools: Run) -> None:
    if name != "net.pth":
        Path("net.pth").rename(name)
    assert ptools("partial-load", "old.pth", name).exit_code == 0
    assert_loaded(load(out))


def test_nothing_is_overwritten_unasked(place: Path, ptools: Run) -> None:
    Path("out.pth").write_text("mine")
    done = ptools("partial-load", "old.pth", "net.pth", "-o", "out.pth")
    one_line(done, 1, "out.pth exists", "--force")
    assert Path("out.pth").read_text() == "mine"
    assert ptools("partial-load", "old.pth", "net.pth", "-o", "out.pth", "--force").exit_code == 0
    assert_loaded(load("out.pth"))


@pytest.mark.parametrize("option", [["--freeze", "loaded"], ["--save-map", "net.freeze.json"]])
def test_nor_are_the_files_beside_it(option: list[str], place: Path, ptools: Run) -> None:
    Path("net.freeze.json").write_text("mine")
    done = ptools("partial-load", "old.pth", "x", "--model", "cnn", "-o", "x.pth", *option)
    assert done.exit_code == 2
    done = ptools("partial-load", "old.pth", "net.pth", "-o", "net.safetensors", *option)
    one_line(done, 1, "net.freeze.json exists", "--force")
    assert not Path("net.safetensors").exists()


@pytest.mark.parametrize("name", ["old.pth", "net.pth"])
def test_neither_file_is_written_over_by_name(name: str, place: Path, ptools: Run) -> None:
    done = ptools("partial-load", "old.pth", "net.pth", "-o", f"./{name}", "--force")
    one_line(done, 2, "itself", "--in-place" if name == "net.pth" else "another name")


def test_in_place_replaces_new_and_a_link_stays_a_link(place: Path, ptools: Run) -> None:
    Path("link.pth").symlink_to("net.pth")
    assert ptools("partial-load", "old.pth", "link.pth", "--in-place").exit_code == 0
    assert Path("link.pth").is_symlink()
    assert_loaded(load("net.pth"))
    assert not Path("net.loaded.pth").exists()


def test_in_place_leaves_other_files_alone(place: Path, ptools: Run) -> None:
    Path("net.freeze.json").write_text("mine")
    done = ptools("partial-load", "old.pth", "net.pth", "--in-place", "--freeze", "loaded")
    one_line(done, 1, "net.freeze.json exists")
    assert torch.equal(load("net.pth")["conv1.weight"], backbone(3, 2)["conv1.weight"])


def test_a_dry_run_writes_nothing(place: Path, ptools: Run) -> None:
    done = ptools("partial-load", "old.pth", "net.pth", "--dry-run", "--freeze", "loaded")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("matched 7/9")
    assert sorted(os.listdir()) == ["net.pth", "old.pth"]  # noqa: PTH208


def test_what_holds_the_state_dict_of_new_is_kept(place: Path, ptools: Run) -> None:
    torch.save({"net": backbone(3, 2), "epoch": 7, "names": ["a", "b", "c"]}, "net.pth")
    done = ptools("partial-load", "old.pth", "net.pth")
    assert "into  net.pth: net, 9 tensors" in done.stdout
    found = load("net.loaded.pth")
    assert (found["epoch"], found["names"]) == (7, ["a", "b", "c"])
    assert_loaded(found["net"])


def test_the_state_dict_is_chosen_and_the_others_are_said(place: Path, ptools: Run) -> None:
    torch.save({"model": backbone(10, 5), "ema": backbone(10, 1)}, "old.pth")
    done = ptools("partial-load", "old.pth", "net.pth")
    assert "from  old.pth: model, 9 tensors; not from ema (9 tensors): --source-key" in done.stdout
    done = ptools("partial-load", "old.pth", "net.pth", "--source-key", "ema", "--force")
    assert "from  old.pth: ema" in done.stdout
    assert_loaded(load("net.loaded.pth"))
    done = ptools("partial-load", "old.pth", "net.pth", "--source-key", "eam", "--force")
    one_line(done, 2, "'eam'", "ema")


def test_safetensors_in_and_out(place: Path, ptools: Run) -> None:
    save_file(backbone(10, 1), "old.safetensors")
    save_file(backbone(3, 2), "net.safetensors", metadata={"made": "by hand"})
    assert ptools("partial-load", "old.safetensors", "net.safetensors").exit_code == 0
    found = load_file("net.loaded.safetensors")
    assert_loaded({key: found[key] for key in backbone(3, 2)})
    ends = ("-o", "out.pth"), ("-o", "out.safetensors")
    assert ptools("partial-load", "old.safetensors", "net.pth", *ends[0]).exit_code == 0
    assert_loaded(load("out.pth"))
    assert ptools("partial-load", "old.pth", "net.pth", *ends[1]).exit_code == 0
    found = load_file("out.safetensors")
    assert_loaded({key: found[key] for key in backbone(3, 2)})


def test_the_dtype_of_new_is_kept_and_every_conversion_is_said(place: Path, ptools: Run) -> None:
    torch.save({k: v.double() for k, v in backbone(10, 1).items() if "num" not in k}, "old.pth")
    done = ptools("partial-load", "old.pth", "net.pth")
    assert "converted float64 -> float32 (6)  conv1, bn1" in done.stdout
    found = load("net.loaded.pth")
    assert {v.dtype for k, v in found.items() if "num" not in k} == {torch.float32}
    done = ptools("partial-load", "old.pth", "net.pth", "--dtype", "source", "--force", "--json")
    found = load("net.loaded.pth")
    assert found["conv1.weight"].dtype == torch.float64
    assert found["fc.weight"].dtype == torch.float32
    changed = done.document["conversions"]
    assert {"target": "bn1.bias", "before": "float32", "after": "float64"} in changed


def test_names_of_one_tensor_stay_one_tensor(place: Path, ptools: Run) -> None:
    def tied(seed: int) -> State:
        torch.manual_seed(seed)
        weight = torch.randn(50, 8)
        return {"words.weight": weight, "more": torch.randn(4), "head.weight": weight}

    torch.save(tied(1), "old.pth")
    torch.save(tied(2), "net.pth")
    assert ptools("partial-load", "old.pth", "net.pth").exit_code == 0
    found = load("net.loaded.pth")
    assert torch.equal(found["head.weight"], tied(1)["head.weight"])
    assert found["head.weight"].data_ptr() == found["words.weight"].data_ptr()
    done = ptools("partial-load", "old.pth", "net.pth", "--skip", "*.weight", "--force")
    assert done.exit_code == 0
    found = load("net.loaded.pth")
    assert torch.equal(found["head.weight"], tied(2)["head.weight"])
    assert found["head.weight"].data_ptr() == found["words.weight"].data_ptr()


def test_nothing_in_common_is_refused(place: Path, ptools: Run) -> None:
    torch.save({"a.weight": torch.zeros(7, 5), "a.bias": torch.zeros(7)}, "old.pth")
    done = ptools("partial-load", "old.pth", "net.pth")
    one_line(done, 1, "old.pth and net.pth are different architectures", "--map")
    assert done.stdout == ""
    assert ptools("partial-load", "old.pth", "net.pth", "--force").exit_code == 1
    assert not Path("net.loaded.pth").exists()
    done = ptools("partial-load", "old.pth", "net.pth", "--json")
    assert done.document["verdict"] == "different"
    assert "different" in done.document["refused"]
    assert done.exit_code == 1


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["nowhere.pth", "net.pth"], 2, "nowhere.pth"),
        (["old.pth"], 2, "--model"),
        (["old.pth", "nowhere.pth"], 2, "nowhere.pth does not exist"),
        (["empty.pth", "net.pth"], 1, "empty.pth"),
        (["old.pth", "page.pth"], 1, "page.pth"),
        (
            ["old.pth", "net.pth", "-o", "no/such/folder/x.pth"],
            1,
            "does not exist; make that folder first",
        ),
        (["old.pth", "net.pth", "--accept", "all"], 2, "likely"),
        (["old.pth", "net.pth", "--first", "0"], 2, "--first"),
        (["old.pth", "net.pth", "--first", "3", "--map-file", "map.json"], 2, "one of them"),
        (["old.pth", "net.pth", "--first", "3", "--hint", "a=b"], 2, "--hint"),
        (["old.pth", "net.pth", "--verify"], 2, "--old-model"),
        (["old.pth", "net.pth", "--old-model", "cnn"], 2, "--verify"),
        (["old.pth", "net.pth", "--in", "3x8x8"], 2, "--in is for --verify"),
        (["old.pth", "net.pth", "--in-place", "-o", "x.pth"], 2, "leave -o out"),
        (["old.pth", "x.pth", "--model", "cnn", "-o", "y.pth"], 2, "leave -o out"),
        (["old.pth", "x.pth", "--model", "cnn", "--in-place"], 2, "--force"),
        (["old.pth", "--model", "cnn"], 2, "the file to write"),
        (["old.pth", "x.pth", "--model", "cnnn"], 2, "Did you mean 'cnn'?"),
        (["old.pth", "net.pth", "--classes", "map.json", "map.json"], 2, "--adapt rows"),
        (["old.pth", "net.pth", "--emit-python", "--json"], 2, "--emit-python"),
        (["old.pth", "net.pth", "--explain", "conv1.wieght"], 2, "Did you mean 'conv1.weight'?"),
        (["old.pth", "net.pth", "--freeze", "convv1"], 2, "Did you mean 'conv1'?"),
        (["old.pth", "net.pth", "--save-map", "old.pth"], 1, "old.pth exists"),
    ],
)
def test_wrong_usage_is_one_line(
    args: list[str], code: int, says: str, place: Path, ptools: Run
) -> None:
    Path("empty.pth").touch()
    Path("page.pth").write_text("<!DOCTYPE html><html><body>404</body></html>")
    Path("map.json").write_text("{}")
    one_line(ptools("partial-load", *args), code, says)
    assert not list(Path().glob("*.loaded*"))


def test_it_runs_as_a_process_too(place: Path, ptools: Run) -> None:
    done = ptools("partial-load", "old.pth", "net.pth", process=True)
    assert done.exit_code == 0, done.stderr
    assert done == ptools("partial-load", "old.pth", "net.pth", "--force")
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("columns", [80, 40])
def test_the_report_keeps_to_the_width_of_a_terminal(columns: int, place: Path) -> None:
    long = "a.module.with.quite.a.long.name.{}.conv"
    for name, seed in (("old", 1), ("net", 2)):
        torch.manual_seed(seed)
        torch.save({f"{long.format(i)}.weight": torch.randn(4, 4) for i in range(3)}, f"{name}.pth")
    shown = on_terminal("partial-load", "old.pth", "net.pth", "--dry-run", columns=columns)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "{0..2}" in shown
    words = [line for line in shown.splitlines() if "name." not in line]
    assert max(map(len, words)) <= columns, shown


def test_explain_says_all_about_one_tensor(place: Path, ptools: Run) -> None:
    done = ptools("partial-load", "old.pth", "net.pth", "--explain", "conv1.weight")
    assert done.exit_code == 0
    assert "conv1.weight  8x3x3x3 float32, in target" in done.stdout
    assert "loaded: conv1.weight <- conv1.weight 8x3x3x3, certain: " in done.stdout
    done = ptools("partial-load", "old.pth", "net.pth", "--explain", "fc.bias")
    assert "not loaded: " in done.stdout
    assert not Path("net.loaded.pth").exists()
    found = ptools("partial-load", "old.pth", "net.pth", "--explain", "fc.bias", "--json").document
    assert (found["shape"], found["old_shape"], found["unused"]) == ([3], [10], True)


def test_the_map_is_saved_reviewed_and_replayed(place: Path, ptools: Run) -> None:
    done = ptools("partial-load", "old.pth", "net.pth", "--dry-run", "--save-map", "map.json")
    assert done.exit_code == 0
    saved = json.loads(Path("map.json").read_text())
    assert saved["map"]["conv1.weight"] == "conv1.weight"
    assert set(saved["left"]) == {"fc.weight", "fc.bias"}
    assert ptools("partial-load", "old.pth", "net.pth", "--map-file", "map.json").exit_code == 0
    assert_loaded(load("net.loaded.pth"))
    saved["map"] = {"conv1.weight": "conv1.weight"}
    Path("map.json").write_text(json.dumps(saved))
    ptools("partial-load", "old.pth", "net.pth", "--map-file", "map.json", "--force")
    found = load("net.loaded.pth")
    assert torch.equal(found["bn1.weight"], backbone(3, 2)["bn1.weight"])
    assert torch.equal(found["conv1.weight"], backbone(10, 1)["conv1.weight"])
