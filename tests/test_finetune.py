"""ptools finetune: what is loaded, what is told, what is frozen, and what it refuses."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ptools.errors import FileError, PtoolsError, UsageError
from ptools.matching import match
from ptools.testing import Install, Run, assert_plugin_ok
from ptools.training.frozen import freeze
from ptools.training.weights import load_into
from ptools_plugins.finetune import finetune

NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.top = nn.Conv2d(16, 24, 3, padding=1)
        self.fc = nn.Linear(24, classes)
    def forward(self, x):
        return self.fc(self.top(self.deep(self.stem(x))).mean((2, 3)))
class Lazy(nn.Sequential):
    def __init__(self):
        super().__init__(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(10))
"""
NAMES = {"stem.0": "conv1", "stem.1": "bn1", "deep.0": "conv2", "deep.1": "bn2", "top": "conv3",
         "fc": "classifier"}  # fmt: skip


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("net.py").write_text(NET)
    return folder


def net(spec: str = "net.py:Net", *, seed: int = 7) -> nn.Module:
    """Return a model whose BatchNorm statistics are not those of a new one."""
    from ptools import models

    torch.manual_seed(seed)
    model = models.build(spec, classes=10, shape=(1, 8, 8))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module(torch.rand(4, module.num_features, 3, 3) * 2 + 1)
    return model


def saved(model: nn.Module, path: str, **beside: object) -> dict[str, Tensor]:
    torch.save({"state_dict": model.state_dict(), **beside} if beside else model.state_dict(), path)
    return model.state_dict()


def renamed(path: str, *, classes: int = 4) -> dict[str, Tensor]:
    """Save weights under other names, with another head, as DataParallel of torch 0.3 did.

    Return them under the names of Net.
    """
    state = net(f"net.py:Net(classes={classes})").state_dict()
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    parts = ((*key.rpartition("."), value) for key, value in state.items())
    old = {f"module.{NAMES[module]}.{leaf}": value for module, _, leaf, value in parts}
    torch.save({"state_dict": old, "epoch": 9}, path)
    return state


def kept(folder: str | Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(Path(folder) / "best.pth", weights_only=True)[
        "state_dict"
    ]
    return state


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_goes_on_from_what_train_left(ptools: Run) -> None:
    """One more epoch on loaded weights is better than the first on new ones; stdout is the result."""
    first = ptools("train", "--model", "cnn", "--epochs", "3", "--out", "old", "--json").document
    done = ptools("finetune", "--model", "cnn", "--weights", "old/best.pth", "--epochs", "1",
                  process=True)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    accuracy, *_, folder = done.stdout.splitlines()
    assert float(accuracy.split()[2].rstrip("%")) > 100 * first["epochs"][0]["val_accuracy"]
    assert folder == "run folder     runs/digits-cnn-1"
    said = done.stderr.splitlines()
    assert said[0] == "loaded 10/10 tensors (100 % of the parameters) from old/best.pth"
    assert not any(line.startswith(("frozen", "renamed", "left")) for line in said)
    assert len([line for line in said if line[:5].strip().isdigit()]) == 1
    assert "\x1b" not in done.stdout + done.stderr


def test_other_names_and_another_head(ptools: Run) -> None:
    renamed("old.tar")
    done = ptools("finetune", "--model", "net.py:Net", "--weights", "old.tar", "--epochs", "1",
                  "--freeze", "stem", "--freeze", "deep.*", "--json", process=True)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    loaded, changed, frozen = done.stderr.splitlines()[:3]
    assert loaded == "loaded 14/16 tensors (95.0 % of the parameters) from old.tar; new: fc"
    assert changed.startswith("renamed 14 tensors: module.conv1 -> stem.0, module.bn1 -> stem.1, ")
    assert frozen == (
        "frozen 8 tensors, 1,296 parameters, in eval mode: stem, deep; "
        "left to train: 3,730 parameters"
    )
    run = done.document
    assert run["loaded"]["new"] == ["fc.weight", "fc.bias"]
    assert run["loaded"]["changed"]["top.weight"] == "module.conv3.weight"
    assert run["frozen"]["eval"] == ["stem", "deep"]
    assert (run["folder"], len(run["epochs"])) == ("runs/digits-Net-1", 1)
    config = tomllib.loads(Path(run["folder"], "config.toml").read_text())
    assert config["loaded"] == run["loaded"]
    assert config["frozen"] == run["frozen"]
    assert (config["loaded"]["file"], config["loaded"]["key"]) == ("old.tar", "state_dict")


def test_the_promises_of_every_command() -> None:
    saved(net(), "old.pth")
    assert_plugin_ok("finetune", "--model", "net.py:Net", "--weights", "old.pth", "--epochs", "1")


def test_the_same_seed_gives_the_same_weights() -> None:
    renamed("old.tar")
    one, two, other = (
        kept(finetune(model="net.py:Net", weights=Path("old.tar"), epochs=1, seed=s).run.folder)
        for s in (3, 3, 4)
    )
    assert all(one[key].equal(two[key]) for key in one)
    assert not one["fc.weight"].equal(other["fc.weight"])


def test_ctrl_c_keeps_what_was_done() -> None:
    saved(net(), "old.pth")
    process = subprocess.Popen(
        [sys.executable, "-m", "ptools", "finetune", "--model", "net.py:Net", "--weights", "old.pth",
         "--epochs", "100000", "--out", "run"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("    2 "):
            break
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "run folder     run\n")
    assert errors.splitlines()[-1].startswith("Interrupted after ")
    assert kept("run")


# -- what is loaded --------------------------------------------------------------------------------


def test_renamed_weights_arrive_bit_for_bit() -> None:
    old = renamed("old.tar")
    model = net(seed=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    loaded = load_into(model, Path("old.tar"))
    after = model.state_dict()
    assert loaded.names == [key for key in after if key in old and not key.startswith("fc")]
    assert all(after[key].equal(old[key]) for key in loaded.names)
    assert loaded.new == ["fc.weight", "fc.bias"]
    assert all(after[key].equal(before[key]) for key in after if key not in loaded.names)
    assert (loaded.parameters, loaded.filled) == (5026, 4776)


def test_the_same_names_need_no_match(tmp_path: Path) -> None:
    """Also where the file has more than the model, and half the precision."""
    old = saved(net().half(), "old.pth", epoch=3)
    torch.save({**old, "teacher.weight": torch.zeros(3)}, "more.pth")
    for path in ("old.pth", "more.pth"):
        model = net(seed=1)
        loaded = load_into(model, Path(path))
        assert (loaded.new, loaded.moves, loaded.share) == ([], {}, 1)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert all(v.equal(old[k].to(v.dtype)) for k, v in model.state_dict().items())


def test_which_of_several(ptools: Run) -> None:
    one, two = net(seed=1), net(seed=2)
    torch.save({"model": one.state_dict(), "ema": two.state_dict()}, "both.pt")
    model = net()
    assert load_into(model, Path("both.pt"), key="ema").key == "ema"
    assert model.state_dict()["fc.bias"].equal(two.state_dict()["fc.bias"])
    done = ptools(
        "finetune", "--model", "net.py:Net", "--weights", "both.pt", "--source-key", "emma"
    )
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Did you mean 'ema'?" in done.stderr.splitlines()[-1]


def test_lazy_layers_are_filled() -> None:
    old = saved_after_a_run("net.py:Lazy", "old.pth")
    run = finetune(model="net.py:Lazy", weights=Path("old.pth"), epochs=1, freeze=("0",))
    assert run.loaded is not None
    assert run.loaded.new == []
    assert kept(run.run.folder)["0.weight"].equal(old["0.weight"])


def saved_after_a_run(spec: str, path: str) -> dict[str, Tensor]:
    from ptools import models

    model = models.build(spec)
    model(torch.zeros(2, 1, 8, 8))
    return saved(model, path)


class Parts(nn.Module):
    """Linear layers, by name."""

    def __init__(self, **layers: tuple[int, int]) -> None:
        super().__init__()
        for name, (inside, out) in layers.items():
            setattr(self, name, nn.Linear(inside, out))


class Attention(nn.Module):
    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.inside = nn.Linear(20, 12)
        if fused:
            self.qkv = nn.Linear(12, 36)
        else:
            self.q, self.k, self.v = (nn.Linear(12, 12) for _ in range(3))
        self.proj = nn.Linear(12, 12)
        self.norm = nn.LayerNorm(12)
        self.up = nn.Linear(12, 48)
        self.down = nn.Linear(48, 12)


E = (64, 32)
BODY = {"a": (16, 64), "b": (64, 64), "c": (64, 128)}
PAIRS = {
    "ambiguous": (Parts(**BODY, x=E, y=E, d=(32, 10)), Parts(**BODY, d=(32, 10), two=E, one=E)),
    "likely": (Parts(d=(32, 10), left=E, right=E), Parts(two=E, one=E, d=(32, 10))),
    "joined": (Attention(fused=False), Attention(fused=True)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_it_loads_what_the_match_is_certain_of_and_no_more(pair: str) -> None:
    """Likely ones when they are accepted; ambiguous ones never, whatever is accepted."""
    old, new = copy.deepcopy(PAIRS[pair])
    saved(old, "old.pth")
    found = match(*({k: tuple(v.shape) for k, v in m.state_dict().items()} for m in (old, new)))
    certain = {key for key, sure in found.confidence.items() if sure == "certain"}
    assert bool(found.ambiguous) == (pair != "joined")
    accepted = load_into(copy.deepcopy(new), Path("old.pth"), accept_likely=True)
    assert set(accepted.names) == set(found.confidence)
    assert accepted.likely == []
    assert set(accepted.ambiguous) == set(found.ambiguous)
    assert set(accepted.new) >= set(found.ambiguous)
    if certain:
        loaded = load_into(new, Path("old.pth"))
        assert set(loaded.names) == certain
        assert set(loaded.likely) == set(found.confidence) - certain
    else:
        before = {key: value.clone() for key, value in new.state_dict().items()}
        with pytest.raises(PtoolsError, match="--accept likely"):
            load_into(new, Path("old.pth"))
        assert all(value.equal(before[key]) for key, value in new.state_dict().items())


def test_tensors_are_made_of_others() -> None:
    old = saved(Attention(fused=False), "old.pth")
    model = Attention(fused=True)
    loaded = load_into(model, Path("old.pth"), accept_likely=True)
    assert loaded.moves["qkv.weight"].op == "cat0"
    joined = torch.cat([old[f"{name}.weight"] for name in "qkv"])
    assert model.qkv.weight.equal(joined)
    assert loaded.document()["changed"]["qkv.bias"] == "cat0(q.bias, k.bias, v.bias)"
    assert loaded.new == []


class Tied(nn.Module):
    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 8)
        self.middle = nn.Linear(8, 8)
        self.head = nn.Linear(8, 30, bias=False)
        if tied:
            self.head.weight = self.embed.weight


def test_two_names_of_one_tensor_get_one_value() -> None:
    saved(Tied(tied=True), "tied.pth")
    loaded = load_into(Tied(tied=True), Path("tied.pth"))
    assert (loaded.parameters, loaded.filled) == (240 + 72, 240 + 72)
    saved(Tied(tied=False), "untied.pth")
    model = Tied(tied=True)
    before = model.middle.weight.detach().clone()
    with pytest.raises(PtoolsError, match=r"embed\.weight and head\.weight are one tensor"):
        load_into(model, Path("untied.pth"))
    assert model.middle.weight.equal(before)


def test_what_is_left_is_told_with_the_next_step(ptools: Run) -> None:
    """A first layer for colours, in a file whose only other difference is the head."""
    state = net("net.py:Net(classes=4)").state_dict()
    state["stem.0.weight"] = torch.rand(8, 3, 3, 3)
    torch.save(state, "colours.pth")
    done = ptools("finetune", "--model", "net.py:Net", "--weights", "colours.pth", "--epochs", "1")
    assert done.exit_code == 0, done.stderr
    first, *said = done.stderr.splitlines()
    assert first.startswith("loaded 14/18 tensors (")
    assert first.endswith(" from colours.pth; new: stem.0, fc")
    assert any("left: stem.0: would fit" in line and "--adapt channels" in line for line in said)


def test_a_bias_that_only_one_side_has_is_told_with_the_next_step(ptools: Run) -> None:
    """Other names, and convolutions without a bias: partial-load makes a file that fits, if asked to."""
    state = {
        f"{NAMES[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value
        for key, value in net().state_dict().items()
        if key not in ("stem.0.bias", "deep.0.bias", "top.bias")
    }
    torch.save(state, "bare.pth")
    done = ptools("finetune", "--model", "net.py:Net", "--weights", "bare.pth", "--epochs", "1")
    assert done.exit_code == 1
    assert "ptools partial-load bare.pth --model ... --adapt bias" in done.stderr
    done = ptools(
        "partial-load", "bare.pth", "fits.pth", "--model", "net.py:Net", "--adapt", "bias"
    )
    assert done.exit_code == 0, done.stdout + done.stderr
    done = ptools("finetune", "--model", "net.py:Net", "--weights", "fits.pth", "--epochs", "1")
    assert done.exit_code == 0, done.stderr
    assert "loaded 18/18 tensors" in done.stderr


# -- what is frozen --------------------------------------------------------------------------------


def test_what_is_frozen_does_not_move_by_a_bit() -> None:
    """Weights, biases, statistics and their counters; weight decay would move them otherwise."""
    old = net().state_dict()
    torch.save(old, "old.pth")
    done = finetune(
        model="net.py:Net", weights=Path("old.pth"), freeze=("stem", "deep"), epochs=2, lr=0.1
    )
    new = kept(done.run.folder)
    still = [key for key in old if key.startswith(("stem", "deep"))]
    assert len(still) == 14
    assert all(new[key].equal(old[key]) for key in still)
    assert not any(new[key].equal(old[key]) for key in old if key not in still)


def test_what_is_not_frozen_moves() -> None:
    old = saved(net(), "old.pth")
    new = kept(finetune(model="net.py:Net", weights=Path("old.pth"), epochs=1).run.folder)
    assert not any(new[key].equal(old[key]) for key in old)


def test_the_optimizer_gets_what_is_left() -> None:
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    from ptools.training import Settings, fit

    given: list[list[Tensor]] = []

    def look(optimizer: torch.optim.Optimizer, *_: object) -> None:
        given.append(optimizer.param_groups[0]["params"])

    from ptools import data

    hook = register_optimizer_step_pre_hook(look)
    try:
        for patterns, count in (((), 12), (("stem*", "fc.bias"), 7)):
            model = net()
            freeze(model, patterns=patterns)
            fit(model, data.load("digits"), Settings(epochs=1, batch_size=1024))
            wanted = [p for p in model.parameters() if p.requires_grad]
            assert [id(p) for p in given[-1]] == [id(p) for p in wanted]
            assert len(wanted) == count
    finally:
        hook.remove()


def manifest(**change: Any) -> Path:
    content: Mapping[str, Any] = {
        "format": "ptools freeze 1",
        "parameters": ["stem.0.weight", "stem.0.bias", "stem.1.weight", "stem.1.bias"],
        "eval": ["stem.1"],
    }
    path = Path("mine.freeze.json")
    path.write_text(json.dumps({**content, **change}))
    return path


def test_a_manifest_written_by_hand() -> None:
    old = saved(net(), "old.pth")
    done = finetune(
        model="net.py:Net", weights=Path("old.pth"), freeze_manifest=manifest(), epochs=1
    )
    assert done.frozen is not None
    assert (len(done.frozen.names), done.frozen.parameters, done.frozen.trainable) == (4, 96, 4930)
    new = kept(done.run.folder)
    moved = {key for key in old if not new[key].equal(old[key])}
    assert moved == {key for key in old if not key.startswith("stem")}


def test_the_manifest_of_partial_load(ptools: Run) -> None:
    """What it wrote beside the weights it loaded: only the head, which is new, is trained."""
    renamed("old.tar")
    made = ptools("partial-load", "old.tar", "start.pth", "--model", "net.py:Net", "--freeze",
                  "loaded")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    done = ptools("finetune", "--model", "net.py:Net", "--weights", "start.pth", "--freeze-manifest",
                  "start.freeze.json", "--epochs", "1", "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    old, new = torch.load("start.pth"), kept(done.document["folder"])
    moved = {key for key in old if not new[key].equal(old[key])}
    assert moved == {"fc.weight", "fc.bias"}
    assert done.document["frozen"]["trainable"] == 250
    assert done.document["loaded"]["new"] == []


def test_a_batchnorm_without_its_statistics_goes_on_measuring() -> None:
    model = net()
    loaded = {key for key in model.state_dict() if "running" not in key}
    frozen = freeze(model, patterns=("stem", "deep"), loaded=loaded)
    assert not {"stem", "stem.1", "deep", "deep.1"} & set(frozen.eval)
    assert [w.partition(":")[0] for w in frozen.warnings] == ["stem.1", "deep.1"]


def test_what_is_frozen_though_it_is_new_is_said(ptools: Run) -> None:
    renamed("old.tar")
    done = ptools("finetune", "--model", "net.py:Net", "--weights", "old.tar", "--epochs", "1",
                  "--freeze", "fc")  # fmt: skip
    assert done.exit_code == 0
    warning = "Warning: fc: frozen, though not loaded: they stay as they were initialised."
    assert warning in done.stderr.splitlines()


# -- what it refuses -------------------------------------------------------------------------------

BASE = ("--model", "net.py:Net", "--weights")


def test_refusals_are_one_line_and_leave_nothing(ptools: Run) -> None:
    state = saved(net(), "old.pth")
    torch.save({**state, "fc.bias": torch.full((10,), torch.nan)}, "nan.pth")
    torch.save({**state, "fc.bias": torch.zeros(10, dtype=torch.int8)}, "int8.pth")
    torch.save(nn.Linear(2, 2), "module.pt")
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict(), "other.pth")
    Path("broken.pth").write_bytes(Path("old.pth").read_bytes()[:3000])
    wrong = str(manifest(parameters=["trunk.weight"]))
    for args, code, says in (
        (["old.pth", "--freeze", "*"], 2, "everything is frozen"),
        (["old.pth", "--freeze", "stme"], 2, "Did you mean 'stem'?"),
        (["old.pth", "--freeze", "stem.2"], 2, "'stem.2' is no parameter or module"),
        (["old.pth", "--freeze", "fc", "--freeze-manifest", wrong], 2, "give one of them"),
        (["old.pth", "--freeze-manifest", wrong], 2, "no parameter 'trunk.weight'"),
        (["old.pth", "--freeze-manifest", "net.py"], 1, "is no freeze manifest"),
        (["old.pth", "--out", "."], 1, "is not empty; choose another folder"),
        (["nan.pth"], 1, "nan.pth: fc.bias holds nan or inf"),
        (["int8.pth"], 1, "int8.pth: fc.bias is int8"),
        (["broken.pth"], 1, "broken.pth"),
        (["module.pt"], 1, "'ptools partial-load module.pt start.pth --model ... --trust'"),
        (["other.pth"], 1, "'ptools partial-load other.pth --model ... --dry-run'"),
        (["missing.pth"], 2, "missing.pth"),
    ):
        done = ptools("finetune", *BASE, *args)
        assert (done.exit_code, done.stdout) == (code, ""), (args, done.stderr)
        assert says in done.stderr.splitlines()[-1], (args, done.stderr)
        assert "Traceback" not in done.stderr
    assert not Path("runs").exists()


def test_the_weights_it_starts_from_are_not_replaced(ptools: Run) -> None:
    Path("run").mkdir()
    saved(net(), "run/best.pth")
    before = Path("run/best.pth").read_bytes()
    done = ptools("finetune", *BASE, "run/best.pth", "--out", "run", "--force")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: --out run would replace run/best.pth itself; choose another folder.\n"
    )
    assert Path("run/best.pth").read_bytes() == before


def test_nothing_in_the_file_is_run() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (Path("ran"),))

    torch.save({"state_dict": net().state_dict(), "args": Evil()}, "evil.pth")
    load_into(net(), Path("evil.pth"))
    assert not Path("ran").exists()


def test_the_errors_are_of_the_house() -> None:
    saved(net(), "old.pth")
    with pytest.raises(UsageError, match="everything is frozen"):
        freeze(net(), patterns=("*",))
    with pytest.raises(FileError, match="nowhere"):
        load_into(net(), Path("nowhere.pth"))


def test_a_model_of_torchvision_on_a_third_partys_images(install: Install, ptools: Run) -> None:
    """1000 classes become 2: everything but the head is loaded, by its own names."""
    from torchvision import models

    source = '''
def flags():
    """Two colours."""
    import torch
    from ptools.data import split
    labels = torch.arange(40) % 2
    images = (labels.view(-1, 1, 1, 1) * 200).expand(40, 3, 32, 32).to(torch.uint8)
    return split("flags", ("dark", "light"), images, labels)
'''
    install("flags", source, "ptools_flags:flags", group="ptools.datasets")
    saved(models.resnet18(), "imagenet.pth")
    done = ptools("finetune", "--model", "resnet18", "--weights", "imagenet.pth", "--data", "flags",
                  "--freeze", "layer?", "--freeze", "conv1", "--freeze", "bn1", "--epochs", "1",
                  "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[0] == (
        "loaded 120/122 tensors (99.9 % of the parameters) from imagenet.pth; new: fc"
    )
    assert done.document["frozen"]["trainable"] == 1026
    assert done.document["frozen"]["eval"] == [
        "conv1", "bn1", "layer1", "layer2", "layer3", "layer4"
    ]  # fmt: skip
