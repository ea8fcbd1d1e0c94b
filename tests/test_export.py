"""ptools export: what is written answers as the network does, and what does not is not written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ptools.data import Geometry
from ptools.errors import PtoolsError
from ptools.models import Blueprint
from ptools.testing import Run
from ptools.tracing.inputs import Input
from ptools_plugins.export import tensorrt
from ptools_plugins.export.verify import LIMIT, compare, noise
from ptools_plugins.export.work import export
from ptools_plugins.predict import predict

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.usefixtures("place")

CLASSES = ["ant", "bee", "cat"]
NETS = """
import random, torch
from torch import nn

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(x)

class ByBatch(Base):
    def forward(self, x):
        return self.fc(x) * 2 if x.shape[0] == 1 else self.fc(x)

class Another(Base):
    def forward(self, x):
        return self.fc(x) * (1.001 if torch.compiler.is_exporting() else 1)

class Tie(Base):
    def forward(self, x):
        one = self.fc(x)[:, :1] + 10
        more = one + 1e-5
        return torch.cat([one, more] if torch.compiler.is_exporting() else [more, one], 1)

class Decides(Base):
    def forward(self, x):
        return self.fc(x) if x.sum() > 0 else -self.fc(x)

class Drops(Base):
    def forward(self, x):
        return nn.functional.dropout(self.fc(x), 0.5, training=True)

class Bessel(Base):
    def forward(self, x):
        return torch.special.bessel_j0(self.fc(x))

class Fixed(Base):
    def forward(self, x):
        return self.fc(x).view(2, 4)

class Nan(Base):
    def forward(self, x):
        return self.fc(x) / 0

class Constant(Base):
    def forward(self, x):
        return self.fc(torch.zeros_like(x))

class Two(Base):
    def forward(self, x, ids):
        print("printed by the network")
        return {"a": self.fc(x), "sum": (self.fc(x).sum(1) * ids.float().sum(1))[:, None, None]}

class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x.flatten(1)[:, :3] + self.nothing
"""


def run(path: str = "run/best.pth", model: str = "mlp", **other: Any) -> Path:
    """Write what a training leaves in best.pth, for 4x4 pictures in colour."""
    torch.manual_seed(0)
    blueprint = Blueprint(model, 3, (3, 4, 4))
    content = {
        "state_dict": blueprint.build().state_dict(),
        "blueprint": blueprint.document(),
        "classes": CLASSES,
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.25, 0.3],
        "geometry": Geometry(*blueprint.shape, resize="exact").document(),
        "loss": "ce",
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(content | other, path)
    return Path(path)


def nets() -> Path:
    """Write the networks above, and weights that fit those of a Linear(6, 4)."""
    Path("nets.py").write_text(NETS)
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 4)
    torch.save({f"fc.{name}": t for name, t in layer.state_dict().items()}, "fc.pth")
    return Path("fc.pth")


def pictures(folder: str = "photos") -> list[Path]:
    random = np.random.default_rng(1)
    for name in CLASSES:
        Path(folder, name).mkdir(parents=True)
        for index in range(4):
            pixels = random.integers(0, 256, (4 + 5 * index, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path(folder, name, f"{index}.png"))
    return sorted(Path(folder).rglob("*.png"))


def left() -> list[str]:
    """What lies here, hidden files too, but for what a test put here."""
    return sorted(p.name for p in Path().iterdir() if p.name not in ("nets.py", "fc.pth", "run"))


# -- what is written -------------------------------------------------------------------------------


def test_it_answers_as_the_network_at_every_batch_size() -> None:
    file = run()
    done = export(Path("run"), Path("model.onnx"))
    onnx.checker.check_model(onnx.load("model.onnx"))
    session = onnxruntime.InferenceSession("model.onnx")
    kept = torch.load(file, weights_only=True)
    net = Blueprint.of(kept["blueprint"]).build().eval()
    net.load_state_dict(kept["state_dict"])
    for batch in (1, 2, 7):
        images = torch.randn(batch, 3, 4, 4)
        (found,) = session.run(None, {"images": images.numpy()})
        assert np.allclose(found, net(images).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert [check.samples for check in done.checks] == [4, 20]
    assert all(check.differ == 0 and 0 <= check.worst < 1e-5 for check in done.checks)
    assert done.inputs == {"images": ["batch", 3, 4, 4]}
    assert done.outputs == {"logits": ["batch", 3]}
    assert left() == ["model.onnx"]


def test_classes_normalisation_and_size_are_inside(ready: Path) -> None:
    found = {entry.key: entry.value for entry in onnx.load(ready / "model.onnx").metadata_props}
    assert json.loads(found["classes"]) == CLASSES
    assert json.loads(found["mean"]) == [0.4, 0.5, 0.6]
    assert json.loads(found["std"]) == [0.2, 0.25, 0.3]
    assert json.loads(found["size"]) == [3, 4, 4]
    assert json.loads(found["geometry"])["resize"] == "exact"
    assert (found["model"], found["loss"]) == ("mlp", "ce")


def test_no_path_of_this_machine_is_inside(ready: Path) -> None:
    folder = str(Path(torch.__file__).parent).encode()
    assert folder not in (ready / "model.onnx").read_bytes()
    export(ready / "run", Path("model.pt2"), format="torch-export")
    with zipfile.ZipFile("model.pt2") as archive:
        assert not [name for name in archive.namelist() if folder in archive.read(name)]


def test_torch_export_writes_one_file_with_the_same_inside() -> None:
    run()
    done = export(Path("run"), Path("model.pt2"), format="torch-export")
    about = {"ptools.json": ""}
    program = torch.export.load("model.pt2", extra_files=about)
    assert json.loads(about["ptools.json"]) == done.metadata
    assert program.module()(torch.randn(9, 3, 4, 4)).shape == (9, 3)
    assert [check.worst for check in done.checks] == [0, 0]
    assert left() == ["model.pt2"]


@pytest.mark.slow
def test_several_inputs_whole_numbers_and_outputs_by_name(ptools: Run) -> None:
    nets()
    done = ptools(
        "export", "fc.pth", "--model", "nets.py:Two", "--in", "6", "--in", "5:int64:9", "--json"
    )
    assert done.exit_code == 0, done.stderr
    document = done.document  # what the network prints is not on stdout
    assert "printed by the network" in done.stderr
    assert document["inputs"] == {"input_1": ["batch", 6], "input_2": ["batch", 5]}
    assert document["outputs"] == {"output_1": ["batch", 4], "output_2": ["batch", 1, 1]}
    assert [check["differ"] for check in document["checks"]] == [None, None]
    types = [one.type for one in onnxruntime.InferenceSession("model.onnx").get_inputs()]
    assert types == ["tensor(float)", "tensor(int64)"]


def test_images_are_compared_too_with_the_accuracy_of_both(ptools: Run) -> None:
    run()
    pictures()
    Path("photos/ant/9.png").write_bytes(b"no picture")
    done = ptools("export", "run", "--data", "photos", "--limit", "11", "--json", "--png", "a.png")
    assert done.exit_code == 0, done.stderr
    check = done.document["checks"][2]
    before, after = check["right"]
    assert (before, check["differ"], check["passed"]) == (after, 0, True)
    assert 0 < check["samples"] <= 11
    assert done.document["latency_ms"].keys() == {"before", "after", "batch", "runs", "threads"}
    assert done.document["bytes"]["after"] == Path("model.onnx").stat().st_size
    assert Image.open("a.png").size == (900, 280)


@pytest.mark.slow
def test_an_older_opset_is_kept_or_refused(ptools: Run) -> None:
    run()
    done = ptools("export", "run", "--opset", "17", "--json")
    assert done.document["opset"] == 17
    assert [i.version for i in onnx.load("model.onnx").opset_import if not i.domain] == [17]
    done = ptools("export", "run", "--opset", "9", "-o", "old.onnx")
    assert (done.exit_code, left()) == (1, ["model.onnx"])
    assert "cannot be written in opset 9" in done.stderr


def test_the_table(ptools: Run) -> None:
    run()
    done = ptools("export", "run", "-o", "mine.onnx")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("mine.onnx: mlp, opset ")
    assert lines[1] == "  images (batch, 3, 4, 4) -> logits (batch, 3)"
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("latency ") and " ms" in line for line in lines)
    assert "ptools predict mine.onnx IMAGE" in done.stderr


# -- what is not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "says"),
    [
        ("ByBatch", "the outputs differ by up to 0.5 of the largest (noise, batch 1)"),
        ("Another", "the outputs differ by up to 0.001 of the largest"),
        ("Tie", "top-1 differs in 4 of 4 samples, first in sample 0 (noise, batch 1)"),
        ("Drops", "the network gives two answers to one input, even in eval mode"),
        ("Decides", "its forward decides by the values of a tensor"),
        ("Bessel", "No ONNX function found"),
        ("Fixed", "does not run on --in 6"),
        ("Nan", "the network itself returns nan or inf"),
    ],
)
def test_what_answers_differently_is_not_written(net: str, says: str, ptools: Run) -> None:
    nets()
    done = ptools("export", "fc.pth", "--model", f"nets.py:{net}", "--in", "6")
    error = done.stderr.splitlines()[-1]
    assert done.exit_code == (2 if net == "Fixed" else 1)
    assert says in error
    assert (done.stdout, left()) == ("", [])
    assert len(done.stderr.splitlines()) == 2  # what is being done, and why it failed


@pytest.mark.slow
def test_what_was_there_stays_where_the_new_one_is_wrong(ptools: Run) -> None:
    nets()
    Path("model.onnx").write_text("precious")
    args = ["export", "fc.pth", "--model", "nets.py:ByBatch", "--in", "6", "--force"]
    assert ptools(*args).exit_code == 1
    assert Path("model.onnx").read_text() == "precious"


@pytest.mark.slow
def test_a_constant_proves_nothing_and_that_is_told(ptools: Run) -> None:
    nets()
    done = ptools("export", "fc.pth", "--model", "nets.py:Constant", "--in", "6")
    assert done.exit_code == 0
    assert "a constant would have passed" in done.stderr


def test_the_relative_difference_is_a_share_of_the_largest_output() -> None:
    wanted = torch.tensor([[2.0, 1e-9], [-100.0, 4.0]])
    got = wanted + torch.tensor([[1e-5, -3e-5], [0.0, 2e-4]])
    check = compare("", lambda _: [wanted], lambda _: [got], [([wanted], None)])
    assert check.worst == pytest.approx(3e-5 / 2, rel=1e-2)
    assert check.passed
    got[1, 1] += 1.1e-2  # of 100: over the limit
    check = compare("", lambda _: [wanted], lambda _: [got], [([wanted], None)])
    assert (check.worst > LIMIT, check.differ, check.passed) == (True, 0, False)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nan_is_as_far_away_as_can_be(bad: float) -> None:
    wanted = torch.tensor([[1.0, 2.0]])
    got = [torch.tensor([[bad, 2.0]])]
    check = compare("", lambda _: [wanted], lambda _: got, [([wanted], None)])
    assert not check.passed


def test_another_shape_is_no_answer() -> None:
    wanted: list[Tensor] = [torch.ones(2, 3)]
    check = compare("", lambda _: wanted, lambda _: [torch.ones(2, 4)], [(wanted, None)])
    assert check.fault == "the exported network returns (2, 4), not (2, 3) ()"


def test_noise_is_of_the_kind_that_is_asked_for() -> None:
    batches = list(noise([Input((3,)), Input((50,), "int64", 7)], 5, 4))
    assert [tuple(t.shape) for t in batches[0][0]] == [(5, 3), (5, 50)]
    ids = torch.cat([inputs[1] for inputs, _ in batches])
    assert (int(ids.min()), int(ids.max())) == (0, 6)
    assert not batches[0][0][0].equal(batches[1][0][0])


# -- the source ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_code_that_a_file_names_is_not_run(ptools: Run) -> None:
    nets()
    run(model="nets.py:Pixels()")
    done = ptools("export", "run")
    assert done.exit_code == 2
    assert "building that runs its code: add --model 'nets.py:Pixels()'" in done.stderr
    assert ptools("export", "run", "--model", "nets.py:Pixels()").exit_code == 0


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ([], 2, "name one thing to export"),
        (["run", "--weights", "fc.pth"], 2, "name one thing to export"),
        (["fc.pth"], 2, "does not say which network it is of; add --model"),
        (["fc.pth", "--model", "nets.py:Base"], 2, "say what 'nets.py:Base' takes"),
        (["fc.pth", "--model", "nets.py:Base", "--in", "5"], 2, "does not run on --in 5"),
        (
            ["fc.pth", "--model", "nets.py:Pixels", "--in", "5"],
            1,
            "(missing: nothing; unknown: fc.",
        ),
        (["fc.pth", "--model", "nets.py:Base", "--in", "6", "--data", "digits"], 2, "pictures"),
        (["run", "-o", "there.onnx"], 1, "there.onnx exists; choose another name or add --force"),
        (["run", "-o", "no/model.onnx"], 1, "no does not exist; make that folder first"),
        (["run", "-o", "run"], 1, "run is a folder"),
        (["run", "--png", "there.png"], 1, "there.png exists; choose another name"),
        (["run", "--png", "no/e.png"], 1, "no does not exist; make that folder first"),
        (["run", "--png", "model.onnx"], 2, "--out and --png are both model.onnx"),
        (["run.onnx", "-o", "run.onnx", "--force"], 2, "run.onnx is what is exported"),
        (["run", "-o", "model.pt2"], 2, "is a name for --format torch-export"),
        (["run", "--data", "nothing"], 2, "no data set is called 'nothing'"),
        (["empty"], 1, "empty has no best.pth"),
        (["nets.py", "--model", "mlp"], 1, "is a text file, no checkpoint"),
        (["run", "--format", "onnxx"], 2, "onnxx"),
        (["run", "--format", "torch-export", "--opset", "17"], 2, "--opset is for --format onnx"),
        (["run", "--opset", "0"], 2, "not in the range 1 to 1000"),
        (["run", "-o", "x"], 2, "x: the name must end in .onnx"),
        (["run", "--png", "x.jpg"], 2, "x.jpg: the name must end in .png"),
        (["run", "--in", "5"], 2, "'ptools shapes --model "),
        (["run", "--format", "tensorrt", "-o", "x.pt2"], 2, "a name for --format torch-export"),
    ],
)
def test_wrong_input_is_one_line(args: list[str], code: int, says: str, ptools: Run) -> None:
    nets()
    run()
    Path("there.onnx").touch()
    Path("there.png").touch()
    shutil.copy("run/best.pth", "run.onnx")
    Path("empty").mkdir()
    done = ptools("export", *args)
    assert done.exit_code == code
    assert says in done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()) <= 2
    assert not Path("model.onnx").exists()


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(ptools: Run) -> None:
    run()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, before[1]))
    try:
        done = ptools("export", "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (done.exit_code, left()) == (1, [])
    assert "cannot write model.onnx" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_at_once(
    package: str, ptools: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    monkeypatch.setitem(sys.modules, package, None)  # to Python: not installed
    done = ptools("export", "run")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert f"{package} must be installed: pip install 'ptools[export]'" in done.stderr


# -- TensorRT --------------------------------------------------------------------------------------


@pytest.mark.skipif(tensorrt._gpu(Path("/")), reason="there is an NVIDIA GPU here")
def test_without_a_gpu_tensorrt_is_refused_before_torch_is_imported() -> None:
    run()
    code = (
        "import sys; from ptools.cli import main; "
        "code = main(['export', 'run', '--format', 'tensorrt']); "
        "print('torch' in sys.modules, code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False 1\n"
    assert done.stderr.startswith("Error: TensorRT needs an NVIDIA GPU and none is here")
    assert done.stderr.count("\n") == 1


def broken() -> bool:
    """Whether no driver of NVIDIA's answers here."""
    try:
        tensorrt._driver()
    except PtoolsError:
        return True
    return False


@pytest.mark.skipif(not broken(), reason="there is a driver of NVIDIA's here")
@pytest.mark.parametrize("device", ["dev/nvidia0", "usr/lib/wsl/lib/libcuda.so.1"])
def test_a_gpu_without_its_driver_is_said(device: str) -> None:
    file = Path("root", device)
    file.parent.mkdir(parents=True)
    Path("root/dev").mkdir(exist_ok=True)
    Path("root/dev/nvidiactl").touch()
    with pytest.raises(PtoolsError, match="needs an NVIDIA GPU"):
        tensorrt.check(Path("model.ep"), Path("root"))
    file.touch()
    with pytest.raises(PtoolsError, match="driver of the NVIDIA GPU does not work"):
        tensorrt.check(Path("model.ep"), Path("root"))


def installed(folder: str, call: str) -> str:
    """What a function of tensorrt says where `folder` has more packages."""
    code = f"from ptools_plugins.export import tensorrt; print(tensorrt.{call}())"
    path = os.pathsep.join([folder, *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    return (done.stdout + done.stderr).splitlines()[-1]


@pytest.mark.slow
def test_what_tensorrt_lacks_is_named() -> None:
    package = Path("site/onnxruntime/capi")
    package.mkdir(parents=True)
    Path("site/onnxruntime/__init__.py").touch()
    assert "needs onnxruntime-gpu: pip" in installed("site", "_needs_onnxruntime")
    library = package / "libonnxruntime_providers_tensorrt.so"
    library.write_bytes(b"\x7fELF..\0libnvinfer.so.9\0libm.so.6\0libnvinfer_plugin.so.9\0")
    says = installed("site", "_needs_onnxruntime")
    assert says.endswith("needs libnvinfer.so.9, which is not here: pip install 'tensorrt<10'")
    Path("site/torch_tensorrt.py").write_text("raise Exception('no libnvinfer.so.11')")
    says = installed("site", "_needs_torch_tensorrt")
    assert "PyTorch cannot use the NVIDIA GPU" in says or "(no libnvinfer.so.11): install" in says


@pytest.mark.parametrize(
    ("packages", "suffix"),
    [(["onnxruntime"], ".onnx"), (["onnxruntime", "torch_tensorrt"], ".ep"), ([], ".ep")],
)
def test_the_name_of_an_engine_says_who_builds_it(packages: list[str], suffix: str) -> None:
    for name in packages:
        Path("site", name, "capi").mkdir(parents=True)
        Path("site", name, "__init__.py").touch()
        Path("site", name, "capi/libonnxruntime_providers_tensorrt.so").touch()
    if not packages and installed("site", "suffix") == ".onnx":
        pytest.skip("onnxruntime-gpu is installed")
    assert installed("site", "suffix") == suffix


def test_tensorrt_parses_and_builds_our_onnx(ptools: Run) -> None:
    """TensorRT-RTX has TensorRT's parser and builder, and needs no GPU for them."""
    trt = pytest.importorskip(
        "tensorrt_rtx_bindings", reason="needs tensorrt-rtx-cu13-bindings and -libs"
    )
    run()
    assert ptools("export", "run").exit_code == 0
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, logger).parse(Path("model.onnx").read_bytes())
    entry = network.get_input(0)
    assert entry.name == "images" and entry.shape[0] == -1
    profile = builder.create_optimization_profile()
    shape = tuple(entry.shape)[1:]
    profile.set_shape(entry.name, (1, *shape), (2, *shape), (32, *shape))
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config).nbytes > 1000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", ["engine.ep", "engine.onnx"])
def test_an_engine_answers_as_the_network(name: str, ptools: Run) -> None:
    try:
        tensorrt.check(Path(name))
    except PtoolsError as error:
        pytest.skip(str(error))
    run()
    done = ptools("export", "run", "--format", "tensorrt", "-o", name, "--json")
    assert done.exit_code == 0, done.stderr
    assert all(check["passed"] for check in done.document["checks"])


# -- ptools predict model.onnx ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and the model.onnx of it, made once."""
    folder = tmp_path_factory.mktemp("exported")
    run(str(folder / "run/best.pth"))
    export(folder / "run", folder / "model.onnx")
    return folder


def test_predict_answers_as_with_the_checkpoint(ready: Path) -> None:
    pictures()
    one = predict(ready / "run", [Path("photos")])
    two = predict(ready / "model.onnx", [Path("photos")], batch_size=5)
    assert two.top.equal(one.top)
    assert torch.allclose(two.values, one.values, rtol=1e-5, atol=1e-6)
    assert (two.images, two.classes, two.measure) == (one.images, one.classes, one.measure)
    assert (two.model, two.accuracy) == (one.model, one.accuracy)


def test_pictures_become_the_same_numbers_to_the_bit() -> None:
    nets()
    run(model="nets.py:Pixels()", loss="mse")  # its outputs are the first of its inputs
    model = "nets.py:Pixels()"
    export(Path("run"), Path("model.onnx"), model=model)
    pictures()
    one = predict(Path("run"), [Path("photos")], model=model)
    two = predict(Path("model.onnx"), [Path("photos")])
    assert two.values.equal(one.values)
    assert two.measure == "score"


def test_predict_refuses_what_it_cannot_use(ready: Path, ptools: Run) -> None:
    shutil.copy(ready / "model.onnx", "model.onnx")
    pictures()
    nets()
    export(Path("fc.pth"), Path("plain.onnx"), model="nets.py:Base", inputs=[Input((6,))])
    Path("bad.onnx").write_text("no protobuf")
    damaged = onnx.load("model.onnx")
    for entry in damaged.metadata_props:
        entry.value = "[" * 9 if entry.key == "classes" else entry.value
    onnx.save(damaged, "damaged.onnx")
    for args, code, says in (
        (["plain.onnx"], 1, "does not say its classes, mean, std, geometry"),
        (["bad.onnx"], 1, "bad.onnx is no ONNX file that onnxruntime takes"),
        (["damaged.onnx"], 1, "its metadata are damaged; export it again"),
        (["model.onnx", "--model", "mlp"], 2, "--model is for checkpoints"),
        (["model.onnx", "--device", "mps"], 2, "choose cpu or cuda"),
    ):
        done = ptools("predict", args[0], "photos", *args[1:])
        assert (done.exit_code, done.stdout) == (code, "")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("mean", "[1]", "model.onnx has no usable mean for 3 channels"),
        ("std", "[0, 0, 0]", "model.onnx has no usable std for 3 channels"),
        ("classes", "[]", "model.onnx names no classes"),
        ("classes", '["one"]', "model.onnx names 1 classes for outputs"),
        ("geometry", '{"channels": 2}', "model.onnx: "),
        ("geometry", "3", "model.onnx: "),
    ],
)
def test_predict_checks_what_the_metadata_say(
    key: str, value: str, says: str, ready: Path, ptools: Run
) -> None:
    pictures()
    model = onnx.load(ready / "model.onnx")
    for entry in model.metadata_props:
        entry.value = value if entry.key == key else entry.value
    onnx.save(model, "model.onnx")
    done = ptools("predict", "model.onnx", "photos")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"Error: {says}")


def test_predict_without_onnxruntime_says_what_to_install(
    ptools: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures()
    Path("model.onnx").touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = ptools("predict", "model.onnx", "photos")
    assert done.exit_code == 1
    assert done.stderr.endswith("install onnxruntime: pip install 'ptools[export]'\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_models_of_torchvision(name: str, ptools: Run) -> None:
    import torchvision

    torch.manual_seed(0)
    torch.save(getattr(torchvision.models, name)().state_dict(), "weights.pth")
    done = ptools("export", "--model", name, "--weights", "weights.pth", "--json")
    assert done.exit_code == 0, done.stderr
    assert max(check["worst"] for check in done.document["checks"]) < 1e-5
    assert done.document["inputs"] == {"images": ["batch", 3, 224, 224]}
