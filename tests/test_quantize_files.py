"""ptools quantize on checkpoints: layers by damage, the int8 file, what predict makes of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from ptools import checkpoints
from ptools.checkpoints import int8
from ptools.errors import FileError, PtoolsError
from ptools.models import Blueprint
from ptools.testing import Run
from ptools_plugins.predict import predict
from ptools_plugins.quantize import quantize
from ptools_plugins.quantize.measuring import pictures as written_pictures
from ptools_plugins.quantize.work import Settings
from tests.test_output import on_terminal
from tests.test_predict import content, pictures, saved

pytestmark = pytest.mark.usefixtures("place")
SMALL = Path("small.safetensors")


def fake(weight: Tensor, *, axis: int = 0) -> Tensor:
    """Return what torch makes of a weight: symmetric, per channel, 8 bits."""
    rows = weight.movedim(axis, 0).flatten(1)
    scale = rows.abs().amax(1) / 127
    zero = torch.zeros(len(rows), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, axis, -127, 127)


def recipe(path: Path, name: str) -> Tensor:
    """Return the values of a tensor as docs/quantize.md has it."""
    tensors = safetensors.torch.load_file(path)
    zero = tensors.get(f"{name}_zero_point", torch.zeros(()))
    return (tensors[name].float() - zero.float()) * tensors[f"{name}_scale"]


# -- the layers ------------------------------------------------------------------------------------


def test_layers_are_ranked_by_what_they_lose(ptools: Run, tiny_checkpoint: Path) -> None:
    state = torch.load(tiny_checkpoint, weights_only=True)
    found = ptools("quantize", str(tiny_checkpoint), "--json").document
    wanted = {}
    for name, weight in state.items():
        if weight.dim() > 1:
            error = (fake(weight) - weight).double()
            wanted[name] = 10 * float(
                (weight.double().square().sum() / error.square().sum()).log10()
            )
    ranked = [layer["name"] for layer in found["layers"]]
    assert ranked == sorted(wanted, key=lambda name: wanted[name])
    for layer in found["layers"]:
        assert layer["symmetric"]["sqnr_db"] == pytest.approx(wanted[layer["name"]], rel=1e-4)
        assert layer["affine"]["codes"] == [-128, 127]
    assert (found["kept"], found["left"], found["scheme"]) == (2, {}, "symmetric")
    shown = ptools("quantize", str(tiny_checkpoint)).stdout.splitlines()
    assert [line.split()[0] for line in shown[3:5]] == ranked
    assert all(len(line) <= 80 for line in shown)


def test_an_outlier_makes_a_layer_the_most_damaged(ptools: Run) -> None:
    """And clipping it, per channel or by mse, mends that."""
    torch.manual_seed(0)
    state = {f"{i}.weight": torch.randn(16, 64) for i in range(3)}
    state["1.weight"][0, 0] = 300
    torch.save(state, "far.pth")

    def of(*args: str) -> Any:
        return ptools("quantize", "far.pth", "--json", *args).document["layers"]

    layers = of("--per", "tensor")
    assert layers[0]["name"] == "1.weight"

    def others(layers: Any) -> float:
        """The mean error without the outlier's own row, where there are rows."""
        layer = next(layer for layer in layers if layer["name"] == "1.weight")
        return float(np.median(layer["symmetric"]["row_sqnr_db"]))

    assert others(of()) > others(layers) + 3
    coarse = of("--per", "tensor", "--bits", "4")
    clipped = of("--per", "tensor", "--bits", "4", "--range", "mse")
    for before, after in zip(
        sorted(coarse, key=lambda x: str(x["name"])),
        sorted(clipped, key=lambda x: str(x["name"])),
        strict=True,
    ):
        assert after["symmetric"]["mse"] <= before["symmetric"]["mse"]


def test_one_layer(ptools: Run, tiny_checkpoint: Path) -> None:
    found = ptools("quantize", str(tiny_checkpoint), "--layer", "0.weight", "--json").document
    assert (found["shape"], found["axis"], len(found["affine"]["scale"])) == ([4, 3, 3, 3], 0, 4)
    shown = ptools("quantize", str(tiny_checkpoint), "--layer", "0.weight").stdout
    assert "per channel of dimension 0" in shown
    wrong = ptools("quantize", str(tiny_checkpoint), "--layer", "0.weigth")
    assert (wrong.exit_code, "Did you mean '0.weight'?" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float32])
@pytest.mark.parametrize("end", ["pth", "safetensors"])
def test_other_floats_are_read_as_torch_reads_them(dtype: torch.dtype, end: str) -> None:
    weight = torch.randn(6, 8).to(dtype).t()  # strides of its own
    if end == "pth":
        torch.save({"w": weight}, "w.pth")
    else:
        safetensors.torch.save_file({"w": weight.contiguous()}, "w.safetensors")
    read = checkpoints.read(f"w.{end}")
    assert np.array_equal(int8.array(read, "w"), weight.float().numpy())
    quantize(read, Settings(), apply=SMALL)
    opened = int8.opened(checkpoints.read(SMALL))
    assert opened.tensors["w"].dtype == dtype
    assert opened.tensors["w"].equal(fake(weight.float()).to(dtype))


def test_what_cannot_be_quantised_is_left(ptools: Run) -> None:
    state = {
        "w": torch.ones(2, 3), "mask": torch.full((2, 2), -torch.inf), "ids": torch.ones(2, 2).int(),
        "b": torch.ones(3), "none": torch.ones(0, 3),
    }  # fmt: skip
    torch.save(state, "all.pth")
    done = ptools("quantize", "all.pth", "--apply", str(SMALL))
    assert done.exit_code == 0
    assert "mask stays as it is: it holds nan or inf." in done.stderr
    found = safetensors.torch.load_file(SMALL)
    assert set(found) == {*state, "w_scale"}
    assert all(found[name].equal(state[name]) for name in ("mask", "ids", "b", "none"))


def test_a_pickled_module_needs_trust(ptools: Run) -> None:
    torch.save(torch.nn.Linear(4, 3), "module.pth")
    refused = ptools("quantize", "module.pth")
    assert (refused.exit_code, "add --trust" in refused.stderr) == (1, True)
    done = ptools("quantize", "module.pth", "--trust", "--apply", str(SMALL))
    assert done.exit_code == 0
    weight = torch.load("module.pth", weights_only=False).weight.detach()
    assert recipe(SMALL, "weight").equal(fake(weight))


def test_a_split_checkpoint(ptools: Run) -> None:
    parts = {"a.safetensors": {"x": torch.randn(3, 4)}, "b.safetensors": {"y": torch.randn(5, 2)}}
    for name, tensors in parts.items():
        safetensors.torch.save_file(tensors, name)
    index = {key: name for name, tensors in parts.items() for key in tensors}
    Path("model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    done = ptools("quantize", ".", "--apply", str(SMALL), "--json").document
    assert {layer["name"] for layer in done["layers"]} == {"x", "y"}
    assert done["written"]["before"] == 4 * 22
    assert recipe(SMALL, "y").equal(fake(parts["b.safetensors"]["y"]))


# -- the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "dtype", "zero"),
    [
        ([], torch.int8, False),
        (["--scheme", "affine"], torch.int8, True),
        (["--scheme", "affine", "--unsigned", "--per", "tensor"], torch.uint8, True),
        (["--bits", "3", "--axis", "1", "--range", "mse"], torch.int8, False),
    ],
)
def test_the_file_holds_codes_and_scales(
    ptools: Run, tiny_checkpoint: Path, args: list[str], dtype: torch.dtype, *, zero: bool
) -> None:
    state = torch.load(tiny_checkpoint, weights_only=True)
    done = ptools("quantize", str(tiny_checkpoint), "--apply", str(SMALL), *args, "--json").document
    tensors = safetensors.torch.load_file(SMALL)
    ends = ["_scale", "_zero_point"] if zero else ["_scale"]
    weights = [name for name in state if state[name].dim() > 1]
    assert set(tensors) == {*state, *(name + end for name in weights for end in ends)}
    assert sum(t.nbytes for t in tensors.values()) == done["bytes_int8"]
    assert done["bytes"] == sum(t.nbytes for t in state.values())
    assert done["written"]["after"] == SMALL.stat().st_size
    opened = int8.opened(checkpoints.read(SMALL))
    for name, layer in ((layer["name"], layer) for layer in done["layers"]):
        assert tensors[name].dtype == dtype
        value = recipe(SMALL, name)
        assert value.equal(opened.tensors[name])
        scheme = done["scheme"]
        worst = float((value - state[name]).abs().max())
        assert worst == pytest.approx(layer[scheme]["max_error"], rel=1e-5)
    assert list(opened.tensors) and set(opened.tensors) == set(state)
    assert opened.tensors["0.bias"].equal(state["0.bias"])


def test_predict_reads_it(ptools: Run) -> None:
    """The same answers as of torch's own fake quantisation, put back into the checkpoint."""
    run, _ = saved(), pictures()
    done = ptools("quantize", "run", "--apply", str(SMALL))
    assert (done.exit_code, done.stderr) == (0, "")
    kept = torch.load(run, weights_only=True)
    state = kept["state_dict"]
    kept["state_dict"] = {n: fake(t) if t.dim() > 1 else t for n, t in state.items()}
    torch.save(kept, "fake.pth")
    one, two = (predict(file, [Path("photos")]) for file in (Path("fake.pth"), SMALL))
    assert one.values.equal(two.values)
    assert (one.classes, one.model, one.measure) == (two.classes, two.model, two.measure)
    assert not predict(run, [Path("photos")]).values.equal(two.values)
    about = json.loads(checkpoints.read(SMALL).metadata[int8.KEY])
    assert about["about"] == {name: value for name, value in kept.items() if name != "state_dict"}


def test_accuracy_before_and_after_is_that_of_predict(ptools: Run) -> None:
    kept = torch.load(saved(), weights_only=True)
    state = kept["state_dict"]  # louder: answers that 2 bits change
    kept["state_dict"] = {n: 6 * t if t.dim() > 1 else 0 * t for n, t in state.items()}
    torch.save(kept, "run/best.pth")
    pictures(per_class=8)
    done = ptools(
        "quantize", "run", "--apply", str(SMALL), "--bits", "2", "--data", "photos", "--json"
    )
    found = done.document["accuracy"]
    before, after = (predict(Path(file), [Path("photos")]) for file in ("run", SMALL))
    assert (found["before"], found["after"], found["images"]) == (
        before.accuracy,
        after.accuracy,
        24,
    )
    assert found["changed"] == int((before.top[:, 0] != after.top[:, 0]).sum()) > 0
    assert "file" in done.document["written"]
    SMALL.unlink()
    shown = ptools("quantize", "run", "--bits", "2", "--data", "photos").stdout
    assert f"accuracy {before.accuracy:.2%} -> {after.accuracy:.2%} of 24 images" in shown
    assert not SMALL.exists()  # measured without --apply nothing stays


def test_each_layer_alone(ptools: Run) -> None:
    """Ranked by how far it moves the answers, as predict has them of a file made by torch."""
    kept = torch.load(saved(), weights_only=True)
    pictures(per_class=4)
    found = ptools("quantize", "run", "--data", "photos", "--alone", "--json").document
    before = predict(Path("run"), [Path("photos")])
    state = kept["state_dict"]
    assert set(found["alone"]) == {name for name, weight in state.items() if weight.dim() > 1}
    for name, one in found["alone"].items():
        torch.save(kept | {"state_dict": {**state, name: fake(state[name])}}, "one.pth")
        after = predict(Path("one.pth"), [Path("photos")])
        best = after.values.gather(1, after.top.argsort(1)).gather(1, before.top[:, :1])
        wanted = float((best - before.values[:, :1]).abs().mean())
        assert one["shift"] == pytest.approx(wanted, rel=1e-3, abs=1e-9)
        assert one["accuracy"] == after.accuracy
    shown = ptools("quantize", "run", "--data", "photos", "--alone").stdout.splitlines()
    ranked = sorted(found["alone"], key=lambda name: -found["alone"][name]["shift"])
    assert [line.split()[0] for line in shown[3 : 3 + len(ranked)]] == ranked


def test_a_data_set_by_name_is_its_test_images() -> None:
    from ptools.data import load

    images = load("digits").test
    assert images is not None
    with written_pictures("digits") as folder:
        files = sorted(folder.rglob("*.png"), key=lambda path: int(path.stem))
        assert [int(path.parent.name) for path in files] == images.labels.tolist()
        pixels = np.stack([np.array(Image.open(path)) for path in files])
        assert np.array_equal(pixels, images.pixels(torch.arange(len(images)))[:, 0].numpy())
    assert not folder.exists()


def test_accuracy_on_digits_is_the_accuracy_of_the_network(ptools: Run) -> None:
    from ptools.data import load

    part = load("digits").test
    assert part is not None
    blueprint = Blueprint("mlp", 10, (1, 8, 8))
    kept = content(blueprint, classes=list("0123456789"), mean=[0.3], std=[0.3])
    torch.save(kept, "digits.pth")
    net = blueprint.build().eval()
    net.load_state_dict(kept["state_dict"])
    with torch.no_grad():
        logits = net((part.pixels(torch.arange(len(part))).float() / 255 - 0.3) / 0.3)
    right = float((logits.argmax(1) == part.labels).float().mean())
    found = ptools("quantize", "digits.pth", "--data", "digits", "--json").document["accuracy"]
    assert found["before"] == pytest.approx(right)
    assert found["images"] == len(part)


# -- what is not believed, what is not lost --------------------------------------------------------


def tampered(change: Callable[[dict[str, Tensor], dict[str, Any]], object]) -> Path:
    """Write an int8 file that was changed by a stranger."""
    saved()
    quantize(checkpoints.read("run/best.pth"), Settings(scheme="affine"), apply=SMALL, force=True)
    tensors = safetensors.torch.load_file(SMALL)
    said = json.loads(checkpoints.read(SMALL).metadata[int8.KEY])
    change(tensors, said)
    safetensors.torch.save_file(tensors, "bad.safetensors", {int8.KEY: json.dumps(said)})
    return Path("bad.safetensors")


NAME = "1.weight"


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, said: said.clear(),
        lambda tensors, said: said.update(tensors=[]),
        lambda tensors, said: said.update(version=2),
        lambda tensors, said: said.update(about=3),
        lambda tensors, said: said["tensors"].update({NAME: "int64"}),
        lambda tensors, said: said["tensors"].update({NAME: ["float32"]}),
        lambda tensors, said: said["tensors"].update(other="float32"),
        lambda tensors, said: tensors.pop(f"{NAME}_scale"),
        lambda tensors, said: tensors.update({NAME: tensors[NAME].float()}),
        lambda tensors, said: tensors.update({f"{NAME}_scale": torch.ones(7, 1)}),
        lambda tensors, said: tensors.update({f"{NAME}_scale": torch.ones(1)}),
        lambda tensors, said: tensors[f"{NAME}_scale"].fill_(torch.nan),
        lambda tensors, said: tensors[f"{NAME}_scale"].fill_(0),
        lambda tensors, said: tensors.update({f"{NAME}_zero_point": torch.ones(1, 1)}),
    ],
)
def test_a_file_that_contradicts_itself(change: Any, ptools: Run) -> None:
    path = tampered(change)
    pictures()
    done = ptools("predict", str(path), "photos")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "is no int8 file that can be used" in done.stderr


def test_metadata_that_is_no_json() -> None:
    safetensors.torch.save_file({"w": torch.ones(1)}, "bad.safetensors", {int8.KEY: "[" * 100_000})
    with pytest.raises(FileError, match="cannot be read"):
        int8.opened(checkpoints.read("bad.safetensors"))


def test_an_untampered_one_is_read() -> None:
    path = tampered(lambda tensors, said: None)
    pictures()
    assert predict(path, [Path("photos")]).accuracy is not None


def test_a_network_of_your_own_still_needs_your_word(ptools: Run) -> None:
    Path("net.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n"
        "    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(48, 3))\n"
    )
    saved(model="net.py:Net"), pictures()
    refused = ptools("quantize", "run", "--data", "photos")
    assert (refused.exit_code, "add --model 'net.py:Net'" in refused.stderr) == (2, True)
    assert ptools("quantize", "run", "--data", "photos", "--model", "net.py:Net").exit_code == 0


def test_nothing_is_overwritten_unasked(ptools: Run, tiny_checkpoint: Path) -> None:
    SMALL.write_text("mine")
    args = ("quantize", str(tiny_checkpoint), "--apply", str(SMALL))
    done = ptools(*args)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "add --force" in done.stderr
    assert SMALL.read_text() == "mine"
    assert ptools(*args, "--force").exit_code == 0
    assert int8.is_int8(checkpoints.read(SMALL))


def test_the_source_may_be_overwritten_by_force(ptools: Run) -> None:
    """It is mapped while it is read; the new file takes its place when it is whole."""
    state = {"w": torch.randn(300, 300)}
    safetensors.torch.save_file(state, SMALL)
    assert ptools("quantize", str(SMALL), "--apply", str(SMALL), "--force").exit_code == 0
    assert recipe(SMALL, "w").equal(fake(state["w"]))


def test_a_full_disk_leaves_nothing(ptools: Run) -> None:
    torch.save({"w": torch.randn(500, 500)}, "w.pth")
    code = (
        "import resource, sys; from ptools.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
        "sys.exit(main(['quantize', 'w.pth', '--apply', 'small.safetensors']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "cannot write small.safetensors" in done.stderr
    assert [path.name for path in Path().iterdir()] == ["w.pth"]


def test_names_that_would_collide() -> None:
    torch.save({"w": torch.ones(2, 2), "w_scale": torch.ones(1)}, "w.pth")
    with pytest.raises(FileError, match="'w_scale' of its own"):
        quantize(checkpoints.read("w.pth"), Settings(), apply=SMALL)
    assert not SMALL.exists()


def test_int8_is_not_quantised_twice(ptools: Run, tiny_checkpoint: Path) -> None:
    ptools("quantize", str(tiny_checkpoint), "--apply", str(SMALL))
    for more in ([], ["--layer", "0.weight"]):
        done = ptools("quantize", str(SMALL), *more)
        assert (done.exit_code, "is int8 already" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (["nothing.pth"], 2, "neither numbers nor a file"),
        ([""], 2, "neither numbers nor a file"),
        (["1 2", "--apply", "x.safetensors"], 2, "for a file"),
        (["tiny.pth", "--apply", "x.pth"], 2, "must end in .safetensors"),
        (["tiny.pth", "--apply", "no/x.safetensors"], 1, "no does not exist; make"),
        (["tiny.pth", "--png", "x.jpg"], 2, "must end in .png"),
        (["tiny.pth", "--axis", "4"], 2, "has 4 dimensions"),
        (["tiny.pth", "--axis", "1", "--per", "tensor"], 2, "--axis is for --per channel"),
        (["tiny.pth", "--range", "percentile:101"], 2, "from 50 to 100"),
        (["tiny.pth", "--range", "percentile:nan"], 2, "from 50 to 100"),
        (["tiny.pth", "--range", "mes"], 2, "Did you mean 'mse'?"),
        (["tiny.pth", "--bits", "1"], 2, "2 to 8"),
        (["tiny.pth", "--data", "digit"], 2, "Did you mean 'digits'?"),
        (["tiny.pth", "--data", "images"], 1, "does not say which classes"),
        (["tiny.pth", "--model", "mlp"], 2, "with --data or --torchao only"),
        (["tiny.pth", "--layer", "0.weight", "--data", "digits"], 2, "leave --layer out"),
        (["tiny.pth", "--alone"], 2, "with --data only"),
        (["tiny.pth", "--data", "images", "--data-dir", "d"], 2, "that are downloaded; leave it"),
        (["tiny.pth", "--key", "a", "--data", "digits"], 2, "leave --key out"),
        (["tiny.pth", "--key", "ema"], 2, "no state_dict at 'ema'"),
        (["text.pth"], 1, "is a text file"),
        (["flat.pth"], 1, "has no weights"),
        (["nan.pth"], 1, "holds nan or inf"),
        (["nan.pth", "--layer", "w"], 1, "holds nan or inf"),
        (["flat.pth", "--layer", "n"], 2, "it is int64"),
        (["flat.pth", "--layer", "zzz"], 2, "There are: "),
        (["tiny.pth", "--data", "zzz"], 2, "See: ptools list datasets"),
    ],
)
@pytest.mark.usefixtures("tiny_images")
def test_bad_input_is_one_line(
    ptools: Run, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    args: list[str], code: int, word: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert tiny_checkpoint.name == "tiny.pth"
    Path("text.pth").write_text("words, no weights")
    torch.save({"b": torch.ones(3), "n": torch.ones(1).long()}, "flat.pth")
    torch.save({"w": torch.full((2, 2), torch.nan)}, "nan.pth")
    before = {path.name for path in Path().iterdir()}
    done = ptools("quantize", *args)
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (code, "", 1), (
        done.stderr
    )
    assert word in done.stderr
    assert {path.name for path in Path().iterdir()} == before


# -- the screen, pictures, torchao -----------------------------------------------------------------


def test_a_terminal_of_80_columns(ptools: Run) -> None:
    """No row is folded, whatever the names: a column less, or the end of a name."""
    torch.save(
        {f"encoder.{i}.{'deep.' * i}weight": torch.randn(40, 3, 3, 3) for i in range(9)}, "w.pth"
    )
    name = "encoder.0.weight"
    for args in (["w.pth"], ["w.pth", "--layer", name], ["1e-5 2;-3e9 4", "--per", "channel"]):
        lines = [
            line.rstrip()
            for line in on_terminal("quantize", *args, env={"NO_COLOR": "1"}).splitlines()
        ]
        plain = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in lines]
        assert max(map(len, plain)) <= 80
        piped = ptools("quantize", *args)
        rows = len((piped.stdout + piped.stderr).splitlines())
        folded = int(not plain[0].endswith(piped.stdout.splitlines()[0][-9:]))  # a sentence may be
        assert len(plain) == rows + folded + sum(set(line) == {"─"} for line in plain)


def test_the_histograms(ptools: Run, tiny_checkpoint: Path) -> None:
    """A row for each tensor; red where there are values afterwards."""
    for args, rows in ((["0.1 -1.2 3.4"], 1), ([str(tiny_checkpoint), "--bits", "4"], 2)):
        done = ptools("quantize", *args, "--png", "x.png", "--force")
        assert (done.exit_code, done.stderr) == (0, "saved x.png\n")
        pixels = np.array(Image.open("x.png").convert("RGB")).astype(int)
        assert pixels.shape[0] == round(90 * (2.5 * rows + 0.5))
        red = (pixels[..., 0] > 180) & (pixels[..., 1] < 110)
        half = red.shape[1] // 2
        assert red[:, :half].sum() > 100 < red[:, half:].sum()
    assert ptools("quantize", "1 2", "--png", "x.png").exit_code == 1  # it exists


def test_torchao_that_is_missing_is_said_before_any_work(tiny_checkpoint: Path) -> None:
    Path("torchao").mkdir()
    Path("torchao/__init__.py").write_text("raise ImportError('it is broken')")
    code = "import sys; sys.path.insert(0, '.'); from ptools.cli import main; sys.exit(main(sys.argv[1:]))"
    args = ["quantize", str(tiny_checkpoint), "--torchao", "--apply", str(SMALL)]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr
    assert "pip install 'ptools[quant]'" in done.stderr
    assert not SMALL.exists()


@pytest.mark.slow
def test_torchao_runs_int8_kernels(ptools: Run) -> None:
    pytest.importorskip("torchao", reason="the extra quant is not installed")
    saved()
    done = ptools("quantize", "run", "--torchao", "--json", process=True)
    assert done.exit_code == 0, done.stderr
    found = {one["kernels"]: one for one in done.document["torchao"]}
    assert list(found) == ["float32", "int8 weights", "int8 both"]
    assert found["float32"]["difference"] == 0
    for name in ("int8 weights", "int8 both"):
        assert found[name]["layers"] > 0
        assert 0 < found[name]["difference"] < 0.1
        assert found[name]["milliseconds"] > 0


def test_nothing_to_quantise_is_an_error() -> None:
    torch.save({"b": torch.ones(3)}, "b.pth")
    with pytest.raises(PtoolsError, match="no float tensor of two dimensions"):
        quantize(checkpoints.read("b.pth"), Settings())
