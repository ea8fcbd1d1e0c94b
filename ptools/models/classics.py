"""Networks with a name in the literature and in tutorials, sized for any input."""

from __future__ import annotations

from torch import Tensor, nn

_KERNEL = 5


def convnet(classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Two blocks of 5x5 convolution, ReLU and MaxPool 2 (32, 64); Linear 256; Dropout; Linear."""
    layers, inside = _blocks(shape, (32, 64), nn.ReLU, nn.MaxPool2d)  # 28x28: 1024 = 64 * 4 * 4
    return nn.Sequential(
        *layers,
        nn.Linear(inside, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, classes),
    )


def lenet(classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """LeNet-5 (LeCun et al. 1998): 5x5 convolutions 6, 16 with average pooling; 120, 84; tanh."""
    layers, inside = _blocks(shape, (6, 16), nn.Tanh, nn.AvgPool2d, whole=32)
    return nn.Sequential(
        *layers,
        nn.Linear(inside, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, classes),
    )


def _blocks(
    shape: tuple[int, int, int],
    widths: tuple[int, ...],
    activation: type[nn.Module],
    pool: type[nn.Module],
    *,
    whole: int = _KERNEL + 1,
) -> tuple[list[nn.Module], int]:
    """Return blocks of convolution, activation and pooling, flattened, and how many numbers come out.

    The first convolution is padded where an image is smaller than `whole`, LeNet's 32 for the digits'
    28; any is where no window and pool of 2 would fit.
    """
    channels, *sides = shape
    layers: list[nn.Module] = []
    for out in widths:
        padded = min(sides) < (_KERNEL + 1 if layers else whole)
        layers += [nn.Conv2d(channels, out, _KERNEL, padding=2 if padded else 0), activation()]
        sides = [side if padded else side - _KERNEL + 1 for side in sides]
        if min(sides) >= 2:
            layers.append(pool(2))
            sides = [side // 2 for side in sides]
        channels = out
    return [*layers, nn.Flatten()], channels * sides[0] * sides[1]


def mobilenet_v1(classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """MobileNet (Howard et al., arXiv:1704.04861): one convolution, 13 separable ones, Linear."""
    return MobileNetV1(classes, shape[0])


class MobileNetV1(nn.Module):
    """The names are those of the checkpoint that went around, `module.model.0.0.weight`."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        blocks, inside = [_conv(channels, 32, 2)], 32
        for out in (64, 128, 128, 256, 256, *(6 * (512,)), 1024, 1024):
            # it halves the image where it doubles the channels, but for the first
            blocks.append(_separable(inside, out, 1 if out in (64, inside) else 2))
            inside = out
        self.model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1))  # of 7x7 at 224 pixels
        self.fc = nn.Linear(inside, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.model(x).flatten(1))  # type: ignore[no-any-return]


def _conv(inside: int, out: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def _separable(inside: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False),
        nn.BatchNorm2d(inside),
        nn.ReLU(inplace=True),
        nn.Conv2d(inside, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )
