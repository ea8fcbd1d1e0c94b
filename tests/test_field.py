"""Receptive fields: against gradients, and against what is known of networks."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ptools.errors import UsageError
from ptools.tracing.field import Field, Fields, receptive_fields, states
from ptools.tracing.fieldreads import EMPTY, Interval, plus
from ptools.tracing.fieldstate import State

LEAVES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.AvgPool2d)


class SumPool(nn.Module):
    """A max pooling whose gradient reaches every element of the window: its sum."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = self.pool
        kernel, stride, padding, dilation = (
            (v, v) if isinstance(v, int) else tuple(v)
            for v in (p.kernel_size, p.stride, p.padding, p.dilation)
        )
        n, c, h, w = p(x).shape
        far = 2 * max(kernel) * max(dilation)  # room for the last window of ceil_mode
        x = F.pad(x, (padding[1], far, padding[0], far)).flatten(0, 1)[:, None]
        ones = torch.ones(1, 1, *kernel, dtype=x.dtype)
        y = F.conv2d(x, ones, stride=stride, dilation=dilation)
        return y[..., :h, :w].reshape(n, c, h, w)


def positive(model: nn.Module) -> nn.Module:
    """Make every weight positive, so that no gradient vanishes or cancels."""
    model = model.eval().double()
    for name, child in list(model.named_modules()):
        if isinstance(child, nn.MaxPool2d):
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], SumPool(child))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if parameter.dim() > 1:
            parameter.fill_(1 / parameter[0].numel())
        else:
            parameter.fill_(0)
    for child in model.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.reset_running_stats()
            child.weight.fill_(1)
    return model


def outputs(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run the model and return the outputs of its modules by name."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, output: found.update({name: output})

    for name, module in model.named_modules():
        module.register_forward_hook(keep(name))
    model(x)
    return found


def extent(values: torch.Tensor) -> Interval:
    """Return the first and last index that is not zero."""
    (where,) = values.nonzero(as_tuple=True)
    return (int(where[0]), int(where[-1])) if len(where) else EMPTY


def clipped(interval: Interval | None, size: int) -> Interval:
    if interval is None:
        return (0, size - 1)
    low, high = max(interval[0], 0), min(interval[1], size - 1)
    return (low, high) if low <= high else EMPTY


def predicted(field: Field, axis: int, i: int) -> Interval | None:
    """Return the interval of element i from size, stride and centre; for whole strides."""
    size, stride, centre = field.size[axis], field.stride[axis], field.centre[axis]
    if size is None or stride is None or centre is None:
        return None
    low = Fraction(centre) - Fraction(size - 1, 2) + stride * i
    assert low.denominator == 1
    return int(low), int(low) + size - 1


def of_element(state: State, axis: int, i: int) -> Interval | None:
    """Return the interval of element i along the dimension that carries this axis."""
    base, atoms = state.base[axis], state.atoms(axis)
    assert len(atoms) <= 1
    return plus(base, atoms[0].cover.at(i)) if base and atoms else base


def against_gradients(fields: Fields, model: nn.Module, shape: Sequence[int]) -> int:
    """Compare every convolution and pooling layer; returns how many."""
    x = torch.rand(2, *shape, dtype=torch.float64, requires_grad=True)
    kinds = {n for n, m in model.named_modules() if isinstance(m, (*LEAVES, SumPool))}
    found = {
        name: y
        for name, y in outputs(positive(model.to_empty(device="cpu")), x).items()
        if name in kinds
    }
    for name, y in found.items():
        places = ((0, 0), (y.shape[2] // 2, y.shape[3] // 2))  # one for each image of the batch
        total = y[0, :, 0, 0].sum() + y[1, :, places[1][0], places[1][1]].sum()
        (grad,) = torch.autograd.grad(total, x, retain_graph=True)
        for place, seen in zip(places, grad.sum(1), strict=True):
            for axis in (0, 1):
                want = clipped(predicted(fields.layers[name], axis, place[axis]), shape[1 + axis])
                assert extent(seen.sum(1 - axis)) == want, (name, axis, place)
    return len(found)


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def on_meta(model: nn.Module) -> nn.Module:
    return deepcopy(model).eval().to("meta")


def torchvision_model(name: str, **options: Any) -> nn.Module:
    """Return a model on the meta device."""
    from torchvision import models

    with torch.device("meta"):
        model: nn.Module = models.get_model(name, weights=None, **options)
    return model.eval()


def test_resnet18_agrees_with_the_gradient() -> None:
    model = torchvision_model("resnet18")
    fields = receptive_fields(model, [meta(1, 3, 160, 48)])
    assert fields.assumed == ()
    assert against_gradients(fields, model, (3, 160, 48)) == 21
    assert str(fields.layers["layer4"]) == "435x435"
    assert fields.layers["layer4"].stride == (Fraction(32), Fraction(32))
    assert (
        str(fields.layers["avgpool"]) == str(fields.layers["fc"]) == str(fields.layers[""]) == "all"
    )


@pytest.mark.slow
def test_googlenet_agrees_with_the_gradient() -> None:
    model = torchvision_model("googlenet", init_weights=False, aux_logits=False)
    fields = receptive_fields(model, [meta(1, 3, 160, 48)])
    assert fields.assumed == ()
    assert against_gradients(fields, model, (3, 160, 48)) == 70


@pytest.mark.parametrize("growth", [2, pytest.param(32, marks=pytest.mark.slow)])
def test_densenet121_agrees_with_the_gradient(growth: int) -> None:
    """The same graph with thin layers, and, slowly, with its own."""
    from torchvision.models import DenseNet

    fields = receptive_fields(torchvision_model("densenet121"), [meta(1, 3, 128, 96)])
    assert fields.assumed == ()
    with torch.device("meta"):
        thin = DenseNet(growth, (6, 12, 24, 16), 2 * growth)
    assert against_gradients(fields, thin, (3, 128, 96)) == 124


class Branches(nn.Module):
    """Paths that meet by addition or side by side, cropped to the smallest."""

    def __init__(self, paths: list[nn.Module], cat: bool) -> None:
        super().__init__()
        self.paths, self.cat = nn.ModuleList(paths), cat
        self.fuse = nn.Conv2d(2 * len(paths) if cat else 2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = [path(x) for path in self.paths]
        height, width = (min(y.shape[d] for y in found) for d in (2, 3))
        found = [y[:, :, :height, :width] for y in found]
        result: torch.Tensor = self.fuse(torch.cat(found, 1) if self.cat else sum(found))
        return result


class Do(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class ChannelsLast(nn.Linear):
    """A 1x1 convolution as ConvNeXt writes it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def unpatch(x: torch.Tensor) -> torch.Tensor:
    """Split into 2x2 patches and put them together again, mixed within the patch."""
    n, c, h, w = x.shape
    x = x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2)
    x = x.permute(0, 1, 2, 4, 3, 5).flatten(4)
    x = x.softmax(-1) * 0 + x.sum(-1, keepdim=True)
    x = x.reshape(n, c, h // 2, w // 2, 2, 2).permute(0, 1, 2, 4, 3, 5)
    return x.reshape(n, c, h // 2 * 2, w // 2 * 2)


def random_layer(r: random.Random) -> nn.Module:
    k, s, d = r.randint(1, 4), r.randint(1, 3), r.randint(1, 2)
    p = r.randint(0, k // 2)
    nearest = nn.Upsample(scale_factor=r.choice([2, 3]))
    makers: list[Callable[[], nn.Module]] = [
        lambda: nn.Conv2d(2, 2, k, s, p, d),
        lambda: nn.Conv2d(2, 2, (k, 3), (1, s), (p, 1), (d, 1), groups=2),
        lambda: nn.Conv2d(2, 2, 3, padding="same", padding_mode=r.choice(["circular", "zeros"])),
        lambda: nn.MaxPool2d(max(k, 2), s, p, d, ceil_mode=r.random() < 0.5),
        lambda: nn.AvgPool2d(max(k, 2), s, p, ceil_mode=r.random() < 0.5),
        lambda: nn.ConvTranspose2d(2, 2, k, s, p, r.randint(0, s - 1), dilation=d),
        lambda: nearest,
        lambda: nn.Upsample(size=(r.randint(20, 50), 31), mode=r.choice(["nearest-exact", "area"])),
        lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=r.random() < 0.5),
        lambda: nn.AdaptiveAvgPool2d(r.randint(5, 20)),
        lambda: nn.Sequential(nn.Conv2d(2, 8, 1), nn.PixelShuffle(2)),
        lambda: nn.Sequential(Do(lambda x: F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))),
                              nn.PixelUnshuffle(2), nn.Conv2d(8, 2, 1)),
        lambda: Do(lambda x: x[:, :, 1::2, :-1]),
        lambda: Do(lambda x: torch.flip(x, (2,))),
        lambda: Do(unpatch),
        lambda: ChannelsLast(2, 2),
        lambda: nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(inplace=True)),
    ]  # fmt: skip
    return r.choice(makers)()


def random_chain(r: random.Random, length: int, deep: bool = True) -> nn.Module:
    layers = [random_layer(r) for _ in range(length)]
    if deep:
        paths = [random_chain(r, r.randint(0, 2), False) for _ in range(2)]
        layers.insert(r.randint(0, length), Branches(paths, r.random() < 0.5))
    return nn.Sequential(*layers)


def against_columns(found: dict[str, State], model: nn.Module, shape: Sequence[int]) -> int:
    """Compare every element of every layer that no padding reaches; returns how many.

    With positive weights the network is linear: the columns of its Jacobian are what it makes of
    images with one line of ones.
    """
    count = 0
    model = positive(model)
    for axis, size in enumerate(shape[1:]):
        x = torch.zeros(size, *shape, dtype=torch.float64)
        for i in range(size):
            x.select(2 + axis, i)[i] = 1
        low, high = 0, size - 1  # pixels that some layer sees less of than theory says
        for name, y in outputs(model, x).items():
            if isinstance(model.get_submodule(name), (nn.MaxPool2d, nn.PixelUnshuffle)):
                continue  # the one inside SumPool; channels that hold pixels
            seen = y.movedim(2 + axis, 0).flatten(2).sum(2)  # (elements, lines)
            edges = [of_element(found[name], axis, i) for i in (0, len(seen) - 1)]
            known = [one for one in edges if one is not None and one != EMPTY]
            low = max([low, *(min(known)[0:1])]) if known else low
            high = min([high, *(max(known)[1:2])]) if known else high
            for i, line in enumerate(seen):
                want = of_element(found[name], axis, i)
                if want and want != EMPTY and low < want[0] and want[1] < high:
                    assert extent(line) == want, (name, axis, i)
                    count += 1
    return count


def test_random_networks_agree_element_by_element() -> None:
    count = 0
    for seed in range(60):
        r = random.Random(seed)
        model = random_chain(r, r.randint(1, 3)).eval()
        shape = (2, 41, 36)
        try:
            found, assumed = states(on_meta(model), [meta(1, *shape)])
        except RuntimeError:  # a layer got too small an input
            continue
        assert not assumed
        try:
            count += against_columns(found, model, shape)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n{model}") from None
    assert count > 10_000


def one(model: nn.Module, *shape: int) -> Field:
    """Return the field of the whole model."""
    fields = receptive_fields(on_meta(model), [meta(*shape)])
    assert fields.assumed == ()
    return fields.layers[""]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_chain_follows_the_closed_form(rank: int) -> None:
    """Araujo et al., equation 2: r = sum((k_l - 1) * product of the strides before) + 1."""
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
    pool = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[rank - 1]
    model = nn.Sequential(
        conv(3, 4, 7, stride=2, padding=3), pool(3, 2, 1), conv(4, 4, 3, padding=2, dilation=2),
    )  # fmt: skip
    field = one(model, 1, 3, *[64] * rank)
    assert field == Field((7 + 2 * 2 + 4 * 4,) * rank, (Fraction(4),) * rank, (0.0,) * rank)


def test_each_axis_has_its_own_field() -> None:
    field = one(nn.Conv3d(1, 1, (1, 3, 5), (1, 2, 3), (0, 0, 1)), 2, 1, 4, 16, 16)
    assert field == Field((1, 3, 5), (Fraction(1), Fraction(2), Fraction(3)), (0.0, 1.0, 1.0))
    assert str(field) == "1x3x5"


@pytest.mark.parametrize(
    ("layer", "size", "stride"),
    [
        (nn.ConvTranspose2d(1, 1, 4, 2, 1), 2, Fraction(1, 2)),
        (nn.ConvTranspose2d(1, 1, 3, 2, 1), 2, Fraction(1, 2)),
        (nn.ConvTranspose2d(1, 1, 2, 2), 1, Fraction(1, 2)),
        (nn.ConvTranspose2d(1, 1, 1, 3), 1, Fraction(1, 3)),
        (nn.Upsample(scale_factor=2), 1, Fraction(1, 2)),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 2, Fraction(1, 2)),
        (nn.Upsample(size=31, mode="bilinear", align_corners=True), 2, Fraction(1, 2)),
        (nn.Upsample(scale_factor=2, mode="bicubic"), 4, Fraction(1, 2)),
        (nn.AdaptiveMaxPool2d(3), 6, Fraction(16, 3)),
        (nn.PixelShuffle(1), 1, Fraction(1)),
        (nn.PixelUnshuffle(2), 1, Fraction(2)),
        (nn.ReflectionPad2d(2), 1, Fraction(1)),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 3)), 6, Fraction(2)),
        (nn.LPPool2d(2, 3), 3, Fraction(3)),
        (nn.InstanceNorm2d(1), 1, Fraction(1)),
        (nn.GroupNorm(1, 1), 1, Fraction(1)),
        (nn.Conv2d(1, 1, 5, padding="same", padding_mode="circular"), 5, Fraction(1)),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), 3, Fraction(1)),
        (Do(lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)), 1, Fraction(1, 2)),
        (Do(lambda x: x.max(3).values[..., None].expand_as(x).transpose(2, 3)), None, None),
        (Do(lambda x: F.normalize(x, dim=1) + x.mean(1, keepdim=True)), 1, Fraction(1)),
        (Do(lambda x: torch.where(x > 0, x, x.roll((1, 1), (2, 3)))), 2, Fraction(1)),
        (Do(lambda x: torch.stack([x, x.flip(2).flip(3).flip(2, 3)])[1]), 1, Fraction(1)),
        (Do(lambda x: torch.einsum("nchw,cd->nhwd", x, torch.ones(1, 2, device=x.device))), 1, 1),
    ],
)  # fmt: skip
def test_one_layer(layer: nn.Module, size: int | None, stride: Fraction | None) -> None:
    field = one(layer, 1, 1, 16, 16)
    assert field.size[1] == size
    assert field.stride[1] == stride


@pytest.mark.parametrize("out", [5, 11, 23, 40])
@pytest.mark.parametrize(
    "options",
    [
        {"mode": "nearest"}, {"mode": "nearest-exact"}, {"mode": "area"},
        {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True},
        {"mode": "bicubic"}, {"mode": "bicubic", "align_corners": True},
    ],
)  # fmt: skip
def test_resizing_agrees_element_by_element(options: dict[str, Any], out: int) -> None:
    model = Do(lambda x: F.interpolate(x, size=(out, out + 1), **options))
    found, _ = states(on_meta(model), [meta(1, 2, 23, 20)])
    assert against_columns(found, model, (2, 23, 20)) > 0


@pytest.mark.parametrize("scale", [0.4, 0.75, 1.5, 2.5])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear"])
def test_scaling_agrees_element_by_element(mode: str, scale: float) -> None:
    """23 * 1.5 is no whole number: PyTorch then resizes by the factor, not by the sizes."""
    model = nn.Upsample(scale_factor=scale, mode=mode)
    found, _ = states(model, [meta(1, 2, 23, 20)])
    assert against_columns(found, model, (2, 23, 20)) > 0


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialias_sees_no_less_than_it_should(mode: str) -> None:
    """At most one element on either side has no weight."""
    model = Do(lambda x: F.interpolate(x, size=(9, 9), mode=mode, antialias=True))
    found, _ = states(on_meta(model), [meta(1, 1, 40, 40)])
    x = torch.eye(40, dtype=torch.float64)[:, None, :, None].expand(40, 1, 40, 40)
    seen = model(x)[:, 0, :, 0].T
    for i, line in enumerate(seen):
        low, high = clipped(of_element(found[""], 0, i), 40)
        real = extent(line)
        assert 0 <= real[0] - low <= 1 and 0 <= high - real[1] <= 1


def test_maps_of_odd_sizes_meet() -> None:
    """A skip connection of 33 and a map of 17 resized to it: exact, and no surprise in size."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Conv2d(1, 1, 3, 2, 1)
            self.end = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = F.interpolate(self.down(x), size=x.shape[-2:], mode="nearest")
            result: torch.Tensor = self.end(x + y)
            return result

    model = Net()
    found, assumed = states(on_meta(model), [meta(1, 1, 33, 33)])
    assert not assumed
    assert against_columns(found, model, (1, 33, 33)) > 100


def attention(x: torch.Tensor) -> torch.Tensor:
    """Attention over all pixels."""
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


@pytest.mark.parametrize(
    "model",
    [
        nn.AdaptiveAvgPool2d(1),
        nn.Sequential(nn.Flatten(), nn.Linear(256, 3)),
        Do(lambda x: x.softmax(3).softmax(2)),
        Do(lambda x: x * x.mean((2, 3), keepdim=True)),
        Do(lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2)),
        Do(lambda x: x + x.transpose(2, 3)),
        Do(lambda x: x.cumsum(2).cumsum(3)),
        Do(attention),
    ],
)  # fmt: skip
def test_seen_wholly(model: nn.Module) -> None:
    field = one(model, 1, 1, 16, 16)
    assert field == Field((None, None), (None, None), (None, None))
    assert str(field) == "all"


def test_an_operator_without_a_rule_is_named() -> None:
    fields = receptive_fields(Do(lambda x: x[:, :, [2, 1, 0]]), [meta(1, 1, 8, 8)])
    assert fields.layers[""].size == (None, None)
    assert fields.assumed == ("aten::index",)


def test_what_is_seen_wholly_anyway_names_no_operator() -> None:
    model = Do(lambda x: x.mean((2, 3))[:, [0]])
    assert receptive_fields(model, [meta(1, 1, 8, 8)]).assumed == ()


def written(x: torch.Tensor) -> torch.Tensor:
    """Shift by one line in place (as temporal shift modules do)."""
    y = torch.zeros_like(x)
    y[:, :, 1:] = x[:, :, :-1]
    y[:, :1, :, 2:].add_(x[:, :1, :, :-2])
    return y


def test_writes_through_views_are_followed() -> None:
    model = Do(written)
    found, assumed = states(model, [meta(1, 2, 12, 12)])
    assert not assumed
    assert of_element(found[""], 0, 5) == (4, 5)
    assert of_element(found[""], 1, 5) == (3, 5)


def test_a_write_through_another_shape_is_not_guessed() -> None:
    def rows(x: torch.Tensor) -> torch.Tensor:
        y = torch.zeros_like(x)
        y.view(1, 1, 64)[:, :, 8:24] = x[:, :, 3:5].flatten(2)
        return y

    fields = receptive_fields(Do(rows), [meta(1, 1, 8, 8)])
    assert fields.layers[""].size == (None, None)
    assert fields.assumed == ("write in place",)


def test_a_view_that_nobody_reads_again_costs_nothing() -> None:
    """The sum is written into the storage of a matrix product that was viewed as an image."""

    def block(x: torch.Tensor) -> torch.Tensor:
        y = F.linear(x.permute(0, 2, 3, 1), torch.ones(2, 2, device=x.device))
        y += F.avg_pool2d(x, 3, 1, 1).permute(0, 2, 3, 1)
        torch._foreach_mul_([y.clone()], 2.0)
        return y

    fields = receptive_fields(Do(block), [meta(1, 2, 8, 8)])
    assert fields.layers[""].size == (3, 3)
    assert fields.assumed == ("aten::_foreach_mul_",)


def test_swin_sees_its_windows() -> None:
    from torchvision.models import SwinTransformer

    torch.manual_seed(0)
    model = SwinTransformer([4, 4], 8, [2, 2], [1, 2], [4, 4], num_classes=3).eval()
    fields = receptive_fields(on_meta(model), [meta(1, 3, 96, 96)])
    assert fields.assumed == ()
    assert [str(fields.layers[f"features.{i}"]) for i in range(4)] == [
        "4x4", "32x32", "32x32", "96x96",
    ]  # fmt: skip
    x = torch.rand(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    found, _ = states(on_meta(model), [meta(1, 3, 96, 96)])
    for name, y in outputs(model.double(), x).items():
        if not name.startswith("features.") or y.dim() != 4:
            continue
        place = y.shape[1] // 2
        (grad,) = torch.autograd.grad(y[0, place, place].sin().sum(), x, retain_graph=True)
        want = clipped(of_element(found[name], 0, place), 96)
        seen = grad.abs().sum((0, 1, 3)) > 1e-20  # what Swin masks has a weight of exp(-100)
        assert extent(seen) == want, name


def test_a_vision_transformer_sees_all_after_its_patches() -> None:
    model = torchvision_model("vit_b_16")
    fields = receptive_fields(model, [meta(1, 3, 224, 224)])
    assert str(fields.layers["conv_proj"]) == "16x16"
    assert fields.layers["conv_proj"].centre == (7.5, 7.5)
    assert str(fields.layers["encoder.layers.encoder_layer_0"]) == "all"


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [("vgg16", "features", "212x212"), ("alexnet", "features", "195x195"),
     ("convnext_tiny", "features.1.0", "28x28"), ("shufflenet_v2_x1_0", "conv5", "527x527"),
     ("efficientnet_b0", "features.0", "3x3"), ("inception_v3", "Mixed_7c", "1311x1311")],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
def test_more_networks_leave_no_operator_out(name: str, layer: str, size: str) -> None:
    model = torchvision_model(name)
    fields = receptive_fields(model, [meta(1, 3, 299, 299)])
    assert fields.assumed == ()
    assert str(fields.layers[layer]) == size


class Two(nn.Module):
    """Two inputs, a constant, a module that runs twice, one that never runs, a dict comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.label = nn.Embedding(10, 4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.never = nn.ReLU()

    def forward(self, label: torch.Tensor, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.conv(self.conv(x)) + self.label(label)[:, :, None, None]
        return {"out": x}


def test_other_inputs_are_constants() -> None:
    model = Two().to("meta")
    label = torch.zeros(1, dtype=torch.int64, device="meta")
    fields = receptive_fields(model, [label, meta(1, 4, 8, 8)])
    assert list(fields.layers) == ["", "label", "conv"]
    assert str(fields.layers["label"]) == "none"
    assert str(fields.layers["conv"]) == str(fields.layers[""]) == "5x5"  # the last run counts
    assert not any(module._forward_hooks for module in model.modules())


def test_no_image_is_refused() -> None:
    with pytest.raises(UsageError, match="needs an image"):
        receptive_fields(nn.Linear(3, 3), [meta(1, 3)])


def test_hooks_go_even_when_the_model_fails() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)).to("meta")
    with pytest.raises(RuntimeError):
        receptive_fields(model, [meta(1, 3, 8, 8)])
    assert not any(module._forward_hooks for module in model.modules())
