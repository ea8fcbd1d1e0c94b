"""ptools tb-images --model, --layers, --kernels, --op: what is inside, equal to what PyTorch computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ptools import models
from ptools.data import Geometry
from ptools.models import Blueprint
from ptools.testing import Run
from ptools_plugins.tb_images import arrays, grids, layers, network
from tests import tb_images as here

pytestmark = pytest.mark.usefixtures("place")


def trained(path: str = "run/best.pth", model: str = "cnn") -> Path:
    """Write what a training on 16x16 photographs leaves."""
    blueprint = Blueprint(model, 3, (3, 16, 16))
    torch.manual_seed(0)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    about = {
        "state_dict": blueprint.build().state_dict(),
        "blueprint": blueprint.document(),
        "classes": ["a", "b", "c"],
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.25, 0.3],
        "geometry": Geometry(3, 16, 16, resize="exact").document(),
    }
    torch.save(about, path)
    return Path(path)


def convolution(net: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))


def test_feature_maps_are_the_activations_of_the_network(ptools: Run) -> None:
    """The grid at the right of the input, tile by tile, is what the layer gives, scaled to 0..255."""
    run = trained()
    here.save(here.photo(16, 16), Path("one.png"))
    net = Blueprint("cnn", 3, (3, 16, 16)).build().eval()
    net.load_state_dict(torch.load(run)["state_dict"])
    name, conv = convolution(net)
    args = ["one.png", "--weights", "run", "--layers", name, "--kernels", "--out", "seen"]
    done = ptools("tb-images", *args)
    assert done.exit_code == 0, done.stderr
    found = here.images("seen")
    assert set(found) == {("cnn/input", 0), (f"cnn/{name}", 0), (f"cnn/{name} kernels", 0)}
    assert here.decoded(found["cnn/input", 0]).equal(here.photo(16, 16))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.4, 0.5, 0.6], [0.2, 0.25, 0.3]))
    numbers = (here.photo(16, 16) / 255 - mean) / std
    seen: list[Tensor] = []
    conv.register_forward_hook(lambda _m, _i, out: seen.append(out[0].detach()))
    with torch.inference_mode():
        net(numbers[None])
    shown = here.decoded(found[f"cnn/{name}", 0])
    wanted = arrays.scaled(seen[0])
    factor = 28 // wanted.shape[1]
    width = wanted.shape[2] * factor
    columns = grids.columns_for(len(wanted), width, width)
    left_edge = shown.shape[2] - 4 - (columns * (width + 2) + 2)
    for place, plane in enumerate(wanted):
        row, column = divmod(place, columns)
        top, left = 4 + 2 + row * (width + 2), left_edge + 2 + column * (width + 2)
        tile = shown[:, top : top + width, left : left + width].int()
        large = grids.enlarged(plane[None], factor).int()
        assert (tile - large).abs().max() <= 1, place


def test_the_input_is_beside_the_maps() -> None:
    image, values = here.photo(40, 40), torch.randn(4, 28, 28)
    shown = layers.maps(values, image)
    assert shown[:, 4 : 4 + 80, 4 : 4 + 80].equal(grids.enlarged(image, 2))
    alone = layers.maps(values, None)
    assert shown[:1, 4 : 4 + alone.shape[1], -4 - alone.shape[2] : -4].equal(alone)


def test_kernels_have_one_scale_with_zero_in_the_middle() -> None:
    weight = torch.tensor([[[[-1.0, 0.0], [0.5, 1.0]]], [[[0.0, 0.0], [0.0, -0.5]]]])
    shown = layers.kernels(weight)
    side = 10  # 21 // 2 times as large
    first = shown[0, 1 : 1 + 2 * side, 1 : 1 + 2 * side]
    assert first[::side, ::side].tolist() == [[0, 128], [191, 255]]
    assert here.levels(shown) == [0, 40, 64, 128, 191, 255]  # 40 between them


@pytest.mark.parametrize(
    ("shape", "tiles"),
    [((6, 3, 5, 5), 6), ((8, 1, 3, 3), 8), ((4, 6, 3, 3), 24), ((4, 3, 2, 3, 3), 24)],
)
def test_kernels_of_any_number_of_channels(shape: tuple[int, ...], tiles: int) -> None:
    torch.manual_seed(0)
    shown = layers.kernels(torch.randn(shape))
    side = 21 // shape[-1] * shape[-1]
    cells = (shown.shape[1] // (side + 1)) * (shown.shape[2] // (side + 1))
    assert cells >= tiles
    assert len(shown) == (3 if shape[1] == 3 and len(shape) == 4 else 1)


@pytest.mark.parametrize("shape", [(), (5,), (1000,), (7, 9), (64, 5, 6), (2, 3, 4, 5)])
def test_outputs_of_any_dimensions_have_planes(shape: tuple[int, ...]) -> None:
    values = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    found = layers.planes(values)
    assert found.dim() == 3
    numbers = found.flatten()
    assert numbers[numbers.isfinite()].equal(values.flatten())
    assert layers.maps(values, here.photo(8, 8)).dim() == 3


def test_the_layers_of_a_torchvision_model(ptools: Run) -> None:
    here.save(here.photo(300, 260), Path("photo.png"))
    done = ptools(
        "tb-images", "photo.png", "--model", "resnet18", "--layers", "conv1,layer1.*.conv1",
        "--kernels", "--size", "64", "--out", "seen", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    names = ["conv1", "layer1.0.conv1", "layer1.1.conv1"]
    wanted = {f"resnet18/{n}" for n in names} | {f"resnet18/{n} kernels" for n in names}
    assert {tag["tag"] for tag in done.document["tags"]} == wanted | {"resnet18/input"}
    assert "random weights" in done.stderr


def test_weights_alone_name_their_network_and_patterns_choose(ptools: Run) -> None:
    trained()
    ptools("tb-images", "digits", "--weights", "run", "--max", "2", "--out", "seen")
    found = here.images("seen")
    steps = {tag: [s for t, s in found if t == tag] for tag, _ in found}
    assert len(steps) > 2
    assert all(some == [0, 1] for some in steps.values())
    assert here.decoded(found["cnn/input", 0]).shape == (3, 16, 16)


def test_the_transform_prepares_the_input(ptools: Run) -> None:
    here.save(here.photo(64, 64), Path("one.png"))
    args = ["one.png", "--model", "cnn", "--transform", "CenterCrop(24); ToTensor()"]
    done = ptools("tb-images", *args, "--size", "24", "--out", "seen")
    assert done.exit_code == 0, done.stderr
    shown = here.decoded(here.images("seen")["cnn/input", 0])
    assert shown.equal(here.photo(64, 64)[:, 20:44, 20:44])


def test_stages_are_shown_unasked() -> None:
    net = models.build("resnet18")
    stages = ["layer1", "layer2", "layer3", "layer4"]
    assert network.choose(net, ()) == ["conv1", *stages, "fc"]
    wrapped = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.ReLU()))
    assert network.choose(wrapped, ()) == ["0.0"]
    assert network.choose(nn.Sequential(nn.ReLU(), nn.Flatten()), ()) == ["0", "1"]


def test_published_weights_by_name(
    ptools: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file lies in torch.hub's cache, and nobody answers at the proxy."""
    monkeypatch.setenv("TORCH_HOME", str(place / "home"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    cache = place / "home" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.manual_seed(3)
    net = models.build("resnet18").eval()
    torch.save(net.state_dict(), cache / "resnet18-f37072fd.pth")
    here.save(here.photo(300, 300), Path("photo.png"))
    args = ["photo.png", "--model", "resnet18", "--weights", "DEFAULT", "--kernels"]
    done = ptools("tb-images", *args, "--layers", "conv1", "--out", "seen")
    assert done.exit_code == 0, done.stderr
    assert "random" not in done.stderr
    found = here.images("seen")
    assert here.decoded(found["resnet18/input", 0]).shape == (3, 224, 224)
    own = layers.kernels(net.get_parameter("conv1.weight"))
    assert here.decoded(found["resnet18/conv1 kernels", 0]).equal(own)
    absent = ptools("tb-images", "photo.png", "--model", "resnet34", "--weights", "DEFAULT")
    assert absent.exit_code == 1
    assert "cannot be downloaded" in absent.stderr


# -- one layer -------------------------------------------------------------------------------------------


def test_an_op_on_a_batch_is_what_pytorch_gives(ptools: Run) -> None:
    here.photos(each=2)
    args = ["photos", "--size", "24", "--op", "MaxPool2d(3, ceil_mode=True)", "--batch-size", "4"]
    done = ptools("tb-images", *args, "--lossless", "--out", "seen")
    assert done.exit_code == 0, done.stderr
    found = here.images("seen")
    assert list(found) == [("MaxPool2d/input", 0), ("MaxPool2d/output", 0)]
    before, after = (here.decoded(data) for data in found.values())
    assert tuple(before.shape) == (3, 54, 54)
    pool = nn.MaxPool2d(3, ceil_mode=True)
    for place in range(4):
        row, column = divmod(place, 2)
        image = before[:, 2 + row * 26 :][:, :24, 2 + column * 26 :][:, :, :24]
        shown = after[:, 1 + row * 9 :][:, :8, 1 + column * 9 :][:, :, :8]
        assert shown.equal(pool(image.float()).to(torch.uint8))


def test_an_op_with_weights_shows_every_channel_and_its_kernels(ptools: Run) -> None:
    """Grey digits go into a layer of three channels as colour; six channels need no reshape."""
    args = ["digits", "--op", "Conv2d(3, 6, 3)", "--kernels", "--max", "6", "--batch-size", "4"]
    done = ptools("tb-images", *args, "--out", "seen")
    assert done.exit_code == 0, done.stderr
    found = here.images("seen")
    wanted = [("kernels", 0), ("input", 0), ("output", 0), ("input", 1), ("output", 1)]
    assert list(found) == [(f"Conv2d/{what}", step) for what, step in wanted]
    torch.manual_seed(0)
    own = layers.kernels(nn.Conv2d(3, 6, 3).weight)
    assert here.decoded(found["Conv2d/kernels", 0]).equal(own)


def test_a_question_mark_is_filled_in(ptools: Run) -> None:
    done = ptools("tb-images", "digits", "--max", "2", "--op", "Conv2d(?, 4, 3)", "--out", "seen")
    assert done.exit_code == 0, done.stderr
    grid = here.decoded(here.images("seen")["Conv2d/output", 0])
    assert len(grid) == 1


def test_sigmoid_is_shown_as_it_is(ptools: Run) -> None:
    here.save(torch.zeros(3, 20, 20, dtype=torch.uint8), Path("black.png"))
    ptools("tb-images", "black.png", "--op", "Sigmoid()", "--out", "seen", "--lossless")
    shown = here.decoded(here.images("seen")["Sigmoid/output", 0])
    assert here.levels(shown[:, 2:22, 2:22]) == [128]  # sigmoid(0) is one half


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (
            ["--model", "resnet18", "--layers", "lyer1.*"],
            2,
            "matches no layer. Near it are: layer1",
        ),
        (["--model", "resnet19"], 2, "Did you mean 'resnet1"),
        (["--model", "cnn", "--weights", "none.pth"], 2, "none.pth"),
        (["--op", "Conv2d(3, 6, 99)"], 1, "--op Conv2d(3, 6, 99) does not take 3x8x8"),
        (["--op", "Convv2d(3, 6, 3)"], 2, "Conv2d"),
        (["--op", "__import__('os')"], 2, "__import__"),
        (["--op", "ReLU()", "--kernels"], 2, "has no kernels"),
    ],
)
def test_wrong_networks_and_layers_are_one_line(
    ptools: Run, args: list[str], code: int, why: str
) -> None:
    done = ptools("tb-images", "digits", "--max", "2", *args)
    assert done.exit_code == code, done.stderr
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not Path("runs/tb-images-1").exists()


def test_a_checkpoint_that_names_code_is_not_built_unasked(ptools: Run) -> None:
    path = trained()
    held = torch.load(path)
    Path("net.py").write_text("open('ran', 'w')\n")
    held["blueprint"] = {**held["blueprint"], "model": "net.py:Net"}
    torch.save(held, path)
    done = ptools("tb-images", "digits", "--weights", "run")
    assert done.exit_code == 2
    assert "building that runs its code: add --model 'net.py:Net'" in done.stderr
    assert not Path("ran").exists()


def test_hostile_checkpoints_are_one_line_or_not_believed(ptools: Run) -> None:
    path = trained()
    held = torch.load(path)
    huge = {**held["geometry"], "height": 10**9, "width": 10**9}
    torch.save({**held, "geometry": huge}, path)
    done = ptools("tb-images", "digits", "--weights", "run", "--max", "1")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: the file of the weights asks for images of 1000000000x")
    torch.save({**held, "mean": [float("inf")] * 3}, path)
    done = ptools("tb-images", "digits", "--weights", "run", "--max", "1", "--out", "seen")
    assert done.exit_code == 0, done.stderr
    shown = [here.decoded(one) for one in here.images("seen").values()]
    assert all(one.max() > one.min() for one in shown)


def test_an_int8_file_is_its_floats(ptools: Run) -> None:
    """The middle of a grid of maps is that of the floats; codes taken for weights would be far from it."""
    trained()
    here.save(here.photo(16, 16), Path("one.png"))
    assert ptools("quantize", "run", "--apply", "small.safetensors").exit_code == 0
    for weights, out in (("run", "floats"), ("small.safetensors", "codes")):
        args = ["one.png", "--weights", weights, "--layers", "0", "--kernels", "--out", out]
        assert ptools("tb-images", *args).exit_code == 0
    floats, codes = here.images("floats"), here.images("codes")
    assert floats.keys() == codes.keys()
    for key, one in floats.items():
        other = here.decoded(codes[key])
        assert (here.decoded(one).int() - other.int()).abs().max() <= 3, key


def test_plain_weights_need_a_model(ptools: Run) -> None:
    torch.save(models.build("cnn", shape=(1, 8, 8)).state_dict(), "plain.pth")
    done = ptools("tb-images", "digits", "--weights", "plain.pth")
    assert done.exit_code == 2
    assert "plain.pth does not say of which network it is; add --model" in done.stderr
    args = ["digits", "--weights", "plain.pth", "--model", "cnn", "--max", "1"]
    done = ptools("tb-images", *args)
    assert done.exit_code == 0, done.stderr
    assert "does not say how its images were normalised" in done.stderr
