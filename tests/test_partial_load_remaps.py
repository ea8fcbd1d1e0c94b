"""ptools partial-load from end to end: networks written by other hands, and real published weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ptools import models
from ptools.checkpoints.freezing import apply_freeze
from ptools.testing import Result, Run

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
RESNET = SHARED / "checkpoints" / "akamaster_resnet20" / "resnet20-12fca82f.th"
IMAGES = SHARED / "cifar10" / "test_761.npz"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("nets", "mobilenet"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def load(path: str) -> Any:
    return torch.load(path, weights_only=True)


def randomised(net: nn.Module, seed: int) -> nn.Module:
    """Give every tensor values of its own, the statistics too."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5) if "var" in name else value.normal_(0, 0.3)
    return net.eval()


# -- the tutorials' own case -------------------------------------------------------------------------

MOBILE = f"{ROOT}/examples/mobilenet.py"


def test_mobilenet_cut_after_block_seven_in_one_command(place: Path, ptools: Run) -> None:
    old: Any = models.build(f"{MOBILE}:MobileNet")
    sys.modules["mobilenet"].save("mobilenet.tar")
    done = ptools(
        "partial-load", "mobilenet.tar", "start.pth", "--model", f"{MOBILE}:Landmarks",
        "--freeze", "loaded",
    )  # fmt: skip
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "from  mobilenet.tar: state_dict, 137 tensors" in done.stdout
    assert "conv{2..7}" in done.stdout
    state = load("mobilenet.tar")["state_dict"]
    old.load_state_dict({k.removeprefix("module."): v for k, v in state.items()}, strict=False)
    new = models.build(f"{MOBILE}:Landmarks")
    new.load_state_dict(load("start.pth"))
    apply_freeze(new, Path("start.freeze.json"))
    frozen = {name for name, p in new.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, _ in new.named_parameters() if not n.startswith("head")}
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = old.eval().model[:7](x)
        for n in range(1, 8):
            x = getattr(new.eval(), f"conv{n}")(x)
    assert torch.equal(x, expected)


def test_mobilenet_is_verified(place: Path, ptools: Run) -> None:
    models.build(f"{MOBILE}:MobileNet")
    sys.modules["mobilenet"].save("mobilenet.tar")
    done = ptools(
        "partial-load", "mobilenet.tar", "start.pth", "--model", f"{MOBILE}:Landmarks",
        "--verify", "--old-model", f"{MOBILE}:MobileNet", "--in", "3x64x64",
    )  # fmt: skip
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "verified  26 layers give what they gave in OLD, bit-identical" in done.stdout


# -- resnet20 by other hands -------------------------------------------------------------------------

RESNETS = """
import torch
from torch import nn
from torch.nn.functional import pad


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.c1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.n1 = nn.BatchNorm2d(o)
        self.c2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.n2 = nn.BatchNorm2d(o)
        self.add = o - i

    def forward(self, x):
        y = self.n2(self.c2(self.n1(self.c1(x)).relu()))
        if self.add:
            x = pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.add // 2, self.add // 2))
        return (x + y).relu()


class Turned(Block):
    '''The same block, its parts registered in another order.'''

    def __init__(self, i, o, stride):
        super().__init__(i, o, stride)
        for name in ("c1", "n1"):
            module = self._modules.pop(name)
            self._modules[name] = module


def stage(block, i, o, stride):
    return nn.Sequential(block(i, o, stride), block(o, o, 1), block(o, o, 1))


class Same(nn.Module):
    block, first = Block, False

    def __init__(self, classes=10):
        super().__init__()
        if self.first:
            self.out = nn.Linear(64, classes)
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16))
        self.low = stage(self.block, 16, 16, 1)
        self.mid = stage(self.block, 16, 32, 2)
        self.high = stage(self.block, 32, 64, 2)
        if not self.first:
            self.out = nn.Linear(64, classes)

    def forward(self, x):
        x = self.high(self.mid(self.low(self.stem(x).relu())))
        return self.out(x.mean((2, 3)))


class Other(Same):
    block = Turned


class HeadFirst(Same):
    first = True


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = nn.ModuleDict({"net": Same()})

    def forward(self, x):
        return self.student["net"](x)


class Short(nn.Module):
    '''Two stages and a head of its own.'''

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16))
        self.low = stage(Block, 16, 16, 1)
        self.mid = stage(Block, 16, 32, 2)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return self.mid(self.low(self.stem(x).relu()))
"""
NAMES = {"stem.0": "conv1", "stem.1": "bn1", "out": "linear"}
PARTS = {"c1": "conv1", "n1": "bn1", "c2": "conv2", "n2": "bn2"}


def published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of Same as they were published: module.layer1.0.conv1.weight."""
    found = {}
    for key, value in state.items():
        module, _, leaf = key.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        if module in NAMES:
            name = NAMES[module]
        else:
            group, number, part = module.split(".")
            name = f"layer{('low', 'mid', 'high').index(group) + 1}.{number}.{PARTS[part]}"
        found[f"module.{name}.{leaf}"] = value
    return found


def directly(net: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Load published weights into Same, by the names that are known here."""
    names = published({key: torch.tensor(0) for key in net.state_dict()})
    own = [key for key in net.state_dict() if not key.endswith("num_batches_tracked")]
    net.load_state_dict(
        {key: state[old] for key, old in zip(own, names, strict=True)}, strict=False
    )
    return net.eval()


def resnet(ptools: Run, name: str, *more: str) -> Result:
    """Load; of blocks registered in another order the engine is right, but only calls it likely."""
    more += ("--accept", "likely") if name == "Other" else ()
    return ptools("partial-load", "old.th", f"{name}.pth", "--model", f"nets.py:{name}", *more)


@pytest.mark.parametrize("name", ["Same", "Other", "HeadFirst", "Nested", "Short"])
def test_a_resnet_by_other_hands(name: str, place: Path, ptools: Run) -> None:
    """Small made weights; the published ones are below."""
    Path("nets.py").write_text(RESNETS)
    same = randomised(models.build("nets.py:Same"), 1)
    torch.save({"best_prec1": 91.7, "state_dict": published(same.state_dict())}, "old.th")
    done = resnet(ptools, name)
    assert done.exit_code == 0, done.stdout + done.stderr
    net = models.build(f"nets.py:{name}")
    net.load_state_dict(load(f"{name}.pth"))
    assert_the_same(same, net.eval(), torch.randn(4, 3, 32, 32))


def assert_the_same(same: Any, net: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        short = type(net).__name__ == "Short"
        expected = same.mid(same.low(same.stem(x).relu())) if short else same(x)
        assert torch.equal(net(x), expected)


@pytest.mark.skipif(not RESNET.exists(), reason="needs the published weights beside the project")
@pytest.mark.parametrize("name", ["Same", "Other", "HeadFirst", "Nested", "Short"])
def test_published_weights_by_other_hands(name: str, place: Path, ptools: Run) -> None:
    Path("nets.py").write_text(RESNETS)
    Path("old.th").write_bytes(RESNET.read_bytes())
    done = resnet(ptools, name)
    assert done.exit_code == 0, done.stdout + done.stderr
    net = models.build(f"nets.py:{name}")
    net.load_state_dict(load(f"{name}.pth"))
    state = torch.load(RESNET, map_location="cpu", weights_only=True)["state_dict"]
    same = directly(models.build("nets.py:Same"), state)
    images, labels = photos()
    assert_the_same(same, net.eval(), images)
    if name != "Short":
        with torch.no_grad():
            right = (net(images).argmax(1) == labels).float().mean()
        assert round(100 * right.item(), 2) == 91.72


def photos() -> tuple[Tensor, Tensor]:
    with np.load(IMAGES) as data:
        pixels, labels = data["x"], data["y"]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images - mean[:, None, None]) / std[:, None, None], torch.from_numpy(labels).long()


# -- what must be asked, refused, offered ------------------------------------------------------------


def two_copies() -> None:
    Path("nets.py").write_text(RESNETS)
    torch.manual_seed(0)
    net = models.build("nets.py:Same")
    torch.save(net.state_dict(), "new.pth")
    copies = {
        f"{prefix}.{key}": value
        for seed, prefix in enumerate(("ema", "model"))
        for key, value in randomised(net, seed).state_dict().items()
        for value in [value.clone()]
    }
    torch.save(copies, "old.pth")


def test_two_copies_are_asked_about_and_a_hint_settles_it(place: Path, ptools: Run) -> None:
    two_copies()
    done = ptools("partial-load", "old.pth", "new.pth")
    assert done.exit_code == 1
    assert "have several candidates" in done.stderr
    assert "one of (ema." in done.stdout
    assert not Path("new.loaded.pth").exists()
    done = ptools("partial-load", "old.pth", "new.pth", "--hint", "=ema")
    assert done.exit_code == 0, done.stdout + done.stderr
    old, new = load("old.pth"), load("new.loaded.pth")
    assert all(torch.equal(value, old[f"ema.{key}"]) for key, value in new.items())


def test_another_architecture_is_refused_in_one_line(place: Path, ptools: Run) -> None:
    torch.save(models.build("mobilenet_v2").state_dict(), "old.pth")
    torch.save(models.build("efficientnet_b0").state_dict(), "new.pth")
    done = ptools("partial-load", "old.pth", "new.pth", "--accept", "likely", "--force")
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "different architectures" in done.stderr
    assert not Path("new.loaded.pth").exists()


def test_what_would_invent_values_is_offered(place: Path, ptools: Run) -> None:
    torch.save(models.build("resnet18").state_dict(), "old.pth")
    net: Any = models.build("resnet18(num_classes=3)")
    net.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    torch.save(net.state_dict(), "new.pth")
    done = ptools("partial-load", "old.pth", "new.pth")
    assert done.exit_code == 0, done.stderr
    assert "conv1.weight 64x3x7x7 fits with --adapt channels" in done.stdout
    assert torch.equal(load("new.loaded.pth")["conv1.weight"], net.conv1.weight)
    done = ptools("partial-load", "old.pth", "new.pth", "--adapt", "channels", "--force")
    assert "channels 3->1" in done.stdout
    old, new = load("old.pth"), load("new.loaded.pth")
    assert torch.equal(new["conv1.weight"], old["conv1.weight"].sum(1, keepdim=True))
    Path("old.txt").write_text("\n".join(f"class {n}" for n in range(1000)))
    Path("new.txt").write_text("class 7\nother\nclass 5")
    done = ptools(
        "partial-load", "old.pth", "new.pth", "--adapt", "rows", "--classes", "old.txt", "new.txt",
        "--force",
    )  # fmt: skip
    assert "rows 2 of 3" in done.stdout, done.stdout + done.stderr
    new = load("new.loaded.pth")
    assert torch.equal(new["fc.weight"][[0, 2]], old["fc.weight"][[7, 5]])
    assert torch.equal(new["fc.bias"][[0, 2]], old["fc.bias"][[7, 5]])


class Stack(nn.Module):
    """Convolutions, each with a normalization behind it; `bias` is that of the convolutions."""

    def __init__(self, words: str, *, bias: bool) -> None:
        super().__init__()
        conv, bn, head = words.split()
        for n, into in enumerate((3, 8, 8, 8)):
            self.add_module(f"{conv}{n}", nn.Conv2d(into, 8, 3, bias=bias))
            self.add_module(f"{bn}{n}", nn.BatchNorm2d(8))
        self.add_module("up", nn.ConvTranspose2d(8, 4, 3, bias=bias))
        self.add_module(head, nn.Conv2d(4, 5, 1))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x).relu()
        return x


def test_a_bias_that_only_one_side_has(place: Path, ptools: Run) -> None:
    bare, full = Stack("conv bn head", bias=False), Stack("c norm fc", bias=True)
    randomised(bare, 1), randomised(full, 2)
    torch.save(bare.state_dict(), "bare.pth")
    torch.save(full.state_dict(), "full.pth")
    done = ptools("partial-load", "bare.pth", "full.pth")
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "add --adapt bias" in done.stderr
    assert not Path("full.loaded.pth").exists()
    done = ptools("partial-load", "bare.pth", "full.pth", "--adapt", "bias", "--save-map", "m.json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "zeros(up.weight)" in done.stdout
    assert "Warning" not in done.stderr
    full.load_state_dict(load("full.loaded.pth"))  # it computes what the other does
    picture = torch.rand(1, 3, 16, 16)
    assert torch.equal(full(picture), bare(picture))
    done = ptools("partial-load", "bare.pth", "full.pth", "--map-file", "m.json", "-o", "again.pth")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert Path("again.pth").read_bytes() == Path("full.loaded.pth").read_bytes()
    done = ptools("partial-load", "full.pth", "bare.pth", "--adapt", "bias")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "5 biases of OLD have no place (c0.bias ...)" in done.stderr
    assert torch.equal(load("bare.loaded.pth")["head.bias"], load("full.pth")["fc.bias"])


def test_a_bias_that_only_one_side_has_in_a_script(place: Path, ptools: Run) -> None:
    torch.save(Stack("conv bn head", bias=False).state_dict(), "bare.pth")
    torch.save(Stack("c norm fc", bias=True).state_dict(), "full.pth")
    done = ptools("partial-load", "bare.pth", "full.pth", "--adapt", "bias", "--emit-python")
    scope: dict[str, Any] = {}
    exec(done.stdout, scope)
    made = scope["partial_load"](load("full.pth"))
    ptools("partial-load", "bare.pth", "full.pth", "--adapt", "bias", "-o", "out.pth")
    assert {k: v.tolist() for k, v in made.items()} == {
        k: v.tolist() for k, v in load("out.pth").items()
    }


class Split(nn.Module):
    """Attention with a layer each for query, key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {name: nn.Linear(16, 16) for name in ("query", "key", "value", "proj")}
                | {"up": nn.Linear(16, 64), "down": nn.Linear(64, 16), "norm": nn.LayerNorm(16)}
            )
            for _ in range(3)
        )
        self.head = nn.Linear(16, 5)


class Fused(nn.Module):
    """The same with one layer for the three."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {"qkv": nn.Linear(16, 48), "proj": nn.Linear(16, 16)}
                | {"up": nn.Linear(16, 64), "down": nn.Linear(64, 16), "norm": nn.LayerNorm(16)}
            )
            for _ in range(3)
        )
        self.head = nn.Linear(16, 5)


@pytest.mark.parametrize(("old", "new"), [(Split, Fused), (Fused, Split)])
def test_attention_is_fused_and_split(
    old: Callable[[], nn.Module], new: Callable[[], nn.Module], place: Path, ptools: Run
) -> None:
    torch.save(randomised(old(), 1).state_dict(), "old.pth")
    torch.save(randomised(new(), 2).state_dict(), "new.pth")
    done = ptools("partial-load", "old.pth", "new.pth", "--accept", "likely")
    assert done.exit_code == 0, done.stdout + done.stderr
    source, found = load("old.pth"), load("new.loaded.pth")
    for n in range(3):
        for leaf in ("weight", "bias"):
            parts = [f"blocks.{n}.{name}.{leaf}" for name in ("query", "key", "value")]
            whole = f"layers.{n}.qkv.{leaf}"
            pieces = source if parts[0] in source else found
            fused = found if pieces is source else source
            assert torch.equal(fused[whole], torch.cat([pieces[part] for part in parts]))
