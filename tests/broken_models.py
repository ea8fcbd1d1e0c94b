# ruff: noqa: E501
"""Broken networks of beginners and engineers, each with what is wrong and the repair.

CASES: one dict a network.
  id         short name
  kind       category
  code       source of a class `Net`; the imports in HEADER go before it
  input      (shape, dtype) of the dummy input
  inputs     [(shape, dtype), ...], where the model takes several; `input` is the first
  below      exclusive upper bound of integer input values; the bound minus one does occur
  mode       "eval" or "train"
  loss       an expression in `out` (the model's output), where the fault is in the loss
  loss_name  the class in torch.nn that computes `loss`
  target     (shape, dtype, exclusive upper bound or None) of a target that shows the fault
  where      "ctor", "forward", "loss", or "silent" (no exception, wrong result)
  layer      dotted name of the innermost module whose forward runs when it fails; "" is Net's own
             forward, the loss or a constructor; the attribute's name for layers in a plain list
  expected, got   the two facts that a good message holds
  fix        [(old, new), ...] edits of `code` after which it runs
  fix_input, fix_loss   the repair on the data side, an expression in `x`, or a repaired loss;
             each repair stands alone: all edits of `fix`, or `fix_input`, or `fix_loss`
  say        what an ideal message says, in one line

Proved in test_broken_models.py. Floating tensors are random normal, or whole numbers where a bound
is given; integers run to their bound (uint8 without one to 255).
"""

from typing import Any

HEADER = "import torch, torch.nn as nn, torch.nn.functional as F\nimport torchvision\n"

CASES: list[dict[str, Any]] = [
    {
        "id": "lenet5_on_28x28",
        "kind": "linear_in_features",
        "input": ((8, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc1",
        "expected": "in_features=400",
        "got": "256",
        "fix": [("nn.Linear(16 * 5 * 5, 120)", "nn.Linear(16 * 4 * 4, 120)")],
        "fix_input": "F.pad(x, (2, 2, 2, 2))",
        "say": "fc1 (Linear) expects 400 features but gets [8, 256] (= 16x4x4 flattened): nn.Linear(256, 120), or pad the images to 32x32",
        "code": '''\
class Net(nn.Module):
    """LeNet-5, as in the paper (which has 32x32 images)."""

    def __init__(self, num_classes=10):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x):
        x = F.max_pool2d(torch.tanh(self.conv1(x)), 2)
        x = F.max_pool2d(torch.tanh(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        x = torch.tanh(self.fc1(x))
        x = torch.tanh(self.fc2(x))
        return self.fc3(x)
''',
    },
    {
        "id": "vgg_config_for_imagenet_on_cifar",
        "kind": "linear_in_features",
        "input": ((4, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "classifier.1",
        "expected": "in_features=3136",
        "got": "1024",
        "fix": [("64 * 7 * 7", "64 * 4 * 4")],
        "fix_input": "F.interpolate(x, size=56)",
        "say": "classifier.1 (Linear) expects 3136 = 64x7x7 features but gets 1024 = 64x4x4: nn.Linear(1024, 128)",
        "code": """\
CFG = [16, 'M', 32, 'M', 64, 64, 'M']

def make_layers(cfg, in_channels=3, batch_norm=False):
    layers = []
    for v in cfg:
        if v == 'M':
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        else:
            layers.append(nn.Conv2d(in_channels, v, kernel_size=3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(v))
            layers.append(nn.ReLU(inplace=True))
            in_channels = v
    return nn.Sequential(*layers)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = make_layers(CFG, batch_norm=True)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(64 * 7 * 7, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )

    def forward(self, x):
        x = self.features(x)
        x = torch.flatten(x, 1)
        return self.classifier(x)
""",
    },
    {
        "id": "kernel_changed_fc_not",
        "kind": "linear_in_features",
        "input": ((16, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc",
        "expected": "in_features=1568",
        "got": "1152",
        "fix": [("ConvBlock(16, 32, k=5)", "ConvBlock(16, 32, k=5, p=2)")],
        "say": "fc (Linear) expects 1568 = 32x7x7 features but gets 1152 = 32x6x6: the 5x5 kernel of block2 needs padding 2, or nn.Linear(1152, 10)",
        "code": """\
class ConvBlock(nn.Module):
    def __init__(self, i, o, k=3, p=1):
        super().__init__()
        self.conv = nn.Conv2d(i, o, k, padding=p)
        self.bn = nn.BatchNorm2d(o)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.bn(self.conv(x))), 2)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1 = ConvBlock(1, 16)
        self.block2 = ConvBlock(16, 32, k=5)
        self.fc = nn.Linear(32 * 7 * 7, 10)

    def forward(self, x):
        x = self.block2(self.block1(x))
        return self.fc(x.flatten(1))
""",
    },
    {
        "id": "pool_commented_out",
        "kind": "linear_in_features",
        "input": ((4, 3, 64, 64), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "head.0",
        "expected": "in_features=2048",
        "got": "8192",
        "fix": [("# x = self.pool(x)", "x = self.pool(x)")],
        "say": "head.0 (Linear) expects 2048 features but gets 8192 = 32x16x16: one pooling fewer than it was computed for; nn.Linear(8192, 64)",
        "code": """\
class Net(nn.Module):
    def __init__(self, dropout=0.25):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding='same')
        self.conv2 = nn.Conv2d(8, 16, 3, padding='same')
        self.conv3 = nn.Conv2d(16, 32, 3, padding='same')
        self.pool = nn.MaxPool2d(2, 2)
        self.head = nn.Sequential(nn.Linear(32 * 8 * 8, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 2))

    def forward(self, x):
        x = F.relu(self.conv1(x))
        # x = self.pool(x)
        x = F.relu(self.conv2(x))
        x = self.pool(x)
        x = F.relu(self.conv3(x))
        x = self.pool(x)
        return self.head(x.reshape(x.shape[0], -1))
""",
    },
    {
        "id": "mlp_hidden_constant",
        "kind": "linear_in_features",
        "input": ((32, 20), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "layers.fc2",
        "expected": "in_features=256",
        "got": "128",
        "fix": [("nn.Linear(HIDDEN * 2, HIDDEN)", "nn.Linear(HIDDEN, HIDDEN)")],
        "say": "layers.fc2 (Linear) expects 256 features but layers.fc1 gives 128: nn.Linear(HIDDEN, HIDDEN)",
        "code": """\
from collections import OrderedDict

HIDDEN = 128
N_FEATURES = 20

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(OrderedDict([
            ('fc1', nn.Linear(N_FEATURES, HIDDEN)),
            ('act1', nn.ReLU()),
            ('fc2', nn.Linear(HIDDEN * 2, HIDDEN)),
            ('act2', nn.ReLU()),
            ('out', nn.Linear(HIDDEN, 1)),
        ]))

    def forward(self, x):
        return self.layers(x)
""",
    },
    {
        "id": "mnist_mlp_on_cifar",
        "kind": "linear_in_features",
        "input": ((10, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "net.1",
        "expected": "in_features=784",
        "got": "3072",
        "fix": [("input_size=28 * 28", "input_size=3 * 32 * 32")],
        "say": "net.1 (Linear) expects 784 features (28x28) but gets 3072 = 3x32x32: input_size=3072",
        "code": """\
class Net(nn.Module):
    def __init__(self, input_size=28 * 28, hidden=(256, 64), num_classes=10):
        super().__init__()
        layers = [nn.Flatten()]
        for h in hidden:
            layers += [nn.Linear(input_size, h), nn.ReLU()]
            input_size = h
        layers.append(nn.Linear(input_size, num_classes))
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "tabular_one_column_more",
        "kind": "linear_in_features",
        "input": ((64, 13), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "input_layer",
        "expected": "in_features=12",
        "got": "13",
        "fix": [('"in_dim": 12', '"in_dim": 13')],
        "fix_input": "x[:, :-1]",
        "say": "input_layer (Linear) expects 12 features but the input has 13 columns (is the target column still in it?)",
        "code": """\
config = {"in_dim": 12, "hidden": 32, "out_dim": 1}

class Net(nn.Module):
    def __init__(self, cfg=config):
        super().__init__()
        self.input_layer = nn.Linear(cfg["in_dim"], cfg["hidden"])
        self.hidden = nn.ModuleList(nn.Linear(cfg["hidden"], cfg["hidden"]) for _ in range(3))
        self.output_layer = nn.Linear(cfg["hidden"], cfg["out_dim"])

    def forward(self, x):
        x = F.leaky_relu(self.input_layer(x))
        for layer in self.hidden:
            x = F.leaky_relu(layer(x))
        return self.output_layer(x)
""",
    },
    {
        "id": "image_and_metadata_late_fusion",
        "kind": "linear_in_features",
        "input": ((4, 3, 32, 32), "float32"),
        "inputs": [((4, 3, 32, 32), "float32"), ((4, 6), "float32")],
        "mode": "eval",
        "where": "forward",
        "layer": "classifier",
        "expected": "in_features=32",
        "got": "38",
        "fix": [("nn.Linear(32, n_classes)", "nn.Linear(32 + n_meta, n_classes)")],
        "say": "classifier (Linear) expects 32 features but gets 38 = 32 (image) + 6 (metadata): nn.Linear(38, 3)",
        "code": """\
class Net(nn.Module):
    def __init__(self, n_meta=6, n_classes=3):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.classifier = nn.Linear(32, n_classes)

    def forward(self, image, meta):
        feats = self.cnn(image)
        feats = torch.cat((feats, meta), dim=1)
        return self.classifier(feats)
""",
    },
    {
        "id": "ecg_conv1d_flatten_size",
        "kind": "linear_in_features",
        "input": ((8, 1, 500), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc",
        "expected": "in_features=8000",
        "got": "7936",
        "fix": [("self.fc = nn.Linear(64 * 125, 5)", "self.fc = nn.Linear(64 * 124, 5)")],
        "say": "fc (Linear) expects 8000 = 64x125 features but gets 7936 = 64x124 (padding is missing in conv2): nn.Linear(7936, 5)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 32, 7, padding=3)
        self.conv2 = nn.Conv1d(32, 64, 3)
        self.pool = nn.MaxPool1d(2)
        self.fc = nn.Linear(64 * 125, 5)

    def forward(self, signal):
        h = self.pool(F.relu(self.conv1(signal)))
        h = self.pool(F.relu(self.conv2(h)))
        return self.fc(h.view(h.shape[0], -1))
""",
    },
    {
        "id": "vae_latent_to_decoder",
        "kind": "linear_in_features",
        "input": ((8, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "decoder.fc",
        "expected": "in_features=20",
        "got": "16",
        "fix": [("self.decoder = Decoder()", "self.decoder = Decoder(z_dim)")],
        "say": "decoder.fc (Linear) expects 20 features but the latent vector has 16: Decoder(z_dim)",
        "code": """\
class Encoder(nn.Module):
    def __init__(self, z_dim=20):
        super().__init__()
        self.fc = nn.Linear(784, 400)
        self.mu = nn.Linear(400, z_dim)
        self.logvar = nn.Linear(400, z_dim)

    def forward(self, x):
        h = F.relu(self.fc(x.view(-1, 784)))
        return self.mu(h), self.logvar(h)

class Decoder(nn.Module):
    def __init__(self, z_dim=20):
        super().__init__()
        self.fc = nn.Linear(z_dim, 400)
        self.out = nn.Linear(400, 784)

    def forward(self, z):
        return torch.sigmoid(self.out(F.relu(self.fc(z))))

class Net(nn.Module):
    def __init__(self, z_dim=16):
        super().__init__()
        self.encoder = Encoder(z_dim)
        self.decoder = Decoder()

    def forward(self, x):
        mu, logvar = self.encoder(x)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.decoder(z), mu, logvar
""",
    },
    {
        "id": "resnet_backbone_new_head",
        "kind": "linear_in_features",
        "input": ((2, 3, 64, 64), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "backbone.fc",
        "expected": "in_features=2048",
        "got": "512",
        "fix": [
            ("nn.Linear(2048, num_classes)", "nn.Linear(self.backbone.fc.in_features, num_classes)")
        ],
        "say": "backbone.fc (Linear) expects 2048 features (that is a ResNet-50) but a ResNet-18 gives 512: nn.Linear(512, 5)",
        "code": """\
from torchvision import models

class Net(nn.Module):
    def __init__(self, num_classes=5, freeze=True):
        super().__init__()
        self.backbone = models.resnet18(weights=None)
        if freeze:
            for p in self.backbone.parameters():
                p.requires_grad = False
        self.backbone.fc = nn.Linear(2048, num_classes)

    def forward(self, x):
        return self.backbone(x)
""",
    },
    {
        "id": "global_pool_without_flatten",
        "kind": "missing_flatten",
        "input": ((4, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc",
        "expected": "in_features=64",
        "got": "[4, 64, 1, 1]",
        "fix": [("x = self.gap(x)", "x = self.gap(x).flatten(1)")],
        "say": "fc (Linear) gets [4, 64, 1, 1] from the global pooling: flatten it to [4, 64] first, torch.flatten(x, 1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(True),
            nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU(True),
        )
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.body(x)
        x = self.gap(x)
        return self.fc(x)
""",
    },
    {
        "id": "forward_forgot_flatten",
        "kind": "missing_flatten",
        "input": ((16, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc1",
        "expected": "in_features=800",
        "got": "[16, 32, 5, 5]",
        "fix": [("x = F.relu(self.fc1(x))", "x = F.relu(self.fc1(x.flatten(1)))")],
        "say": "fc1 (Linear) gets a feature map [16, 32, 5, 5]; 32*5*5 = 800 = in_features, so flatten it: x = torch.flatten(x, 1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(in_channels=1, out_channels=16, kernel_size=3)
        self.conv2 = nn.Conv2d(in_channels=16, out_channels=32, kernel_size=3)
        self.fc1 = nn.Linear(in_features=32*5*5, out_features=64)
        self.fc2 = nn.Linear(in_features=64, out_features=10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x))
        return F.log_softmax(self.fc2(x), dim=1)
""",
    },
    {
        "id": "mlp_on_images",
        "kind": "missing_flatten",
        "input": ((16, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "model.0",
        "expected": "in_features=784",
        "got": "[16, 1, 28, 28]",
        "fix": [("nn.Linear(784, 128),", "nn.Flatten(), nn.Linear(784, 128),")],
        "fix_input": "x.flatten(1)",
        "say": "model.0 (Linear) gets images [16, 1, 28, 28]; 1*28*28 = 784 = in_features: begin with nn.Flatten()",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(784, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )

    def forward(self, images):
        return self.model(images)
""",
    },
    {
        "id": "conv_stack_helper_no_flatten",
        "kind": "missing_flatten",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "net.head.0",
        "expected": "in_features=512",
        "got": "[2, 32, 4, 4]",
        "fix": [
            (
                "nn.Sequential(nn.Linear(width * 2 * 4 * 4, 50)",
                "nn.Sequential(nn.Flatten(), nn.Linear(width * 2 * 4 * 4, 50)",
            )
        ],
        "say": "net.head.0 (Linear) gets [2, 32, 4, 4]; 32*4*4 = 512 = in_features: put nn.Flatten() before it",
        "code": """\
from collections import OrderedDict

def conv_bn(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))

class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.net = nn.Sequential(OrderedDict(
            stem=conv_bn(3, width),
            body=conv_bn(width, width * 2),
            head=nn.Sequential(nn.Linear(width * 2 * 4 * 4, 50), nn.ReLU(), nn.Linear(50, 4)),
        ))

    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "conv1d_global_pool_no_squeeze",
        "kind": "missing_flatten",
        "input": ((4, 6, 128), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "classifier",
        "expected": "in_features=48",
        "got": "[4, 48, 1]",
        "fix": [("self.pool(h))", "self.pool(h).squeeze(-1))")],
        "say": "classifier (Linear) gets [4, 48, 1] from AdaptiveAvgPool1d: squeeze(-1) gives [4, 48]",
        "code": '''\
class Net(nn.Module):
    """Accelerometer windows to activities."""
    def __init__(self, channels=6, classes=4):
        super().__init__()
        self.conv = nn.Conv1d(channels, 48, 5, padding=2)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.classifier = nn.Linear(48, classes)

    def forward(self, x):
        h = self.conv(x).relu()
        return self.classifier(self.pool(h))
''',
    },
    {
        "id": "torch_flatten_without_start_dim",
        "kind": "flatten_eats_batch",
        "input": ((8, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc1",
        "expected": "in_features=2304",
        "got": "[18432]",
        "fix": [("torch.flatten(x)", "torch.flatten(x, 1)")],
        "say": "torch.flatten(x) also flattens the batch of 8: fc1 gets [18432] = 8*2304; torch.flatten(x, 1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.fc1 = nn.Linear(16 * 12 * 12, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = torch.flatten(x)
        x = F.relu(self.fc1(x))
        return self.fc2(x)
""",
    },
    {
        "id": "method_flatten_without_start_dim",
        "kind": "flatten_eats_batch",
        "input": ((4, 3, 20, 20), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "head",
        "expected": "in_features=400",
        "got": "[1600]",
        "fix": [(".flatten()", ".flatten(start_dim=1)")],
        "say": "x.flatten() also flattens the batch of 4: head gets [1600] = 4*400; x.flatten(1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(4 * 10 * 10, 3)

    def forward(self, x):
        return self.head(self.stem(x).flatten())
""",
    },
    {
        "id": "view_minus_one",
        "kind": "flatten_eats_batch",
        "input": ((16, 1, 8, 8), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "seq.0",
        "expected": "in_features=64",
        "got": "[1024]",
        "fix": [("x.view(-1)", "x.view(x.size(0), -1)")],
        "say": "x.view(-1) makes one vector of the whole batch, [1024] = 16*64: x.view(x.size(0), -1)",
        "code": """\
class Net(nn.Module):
    def __init__(self, n_in=64, n_out=10):
        super().__init__()
        self.seq = nn.Sequential(nn.Linear(n_in, 32), nn.Sigmoid(), nn.Linear(32, n_out))
    def forward(self, x):
        x = x.view(-1)
        return self.seq(x)
""",
    },
    {
        "id": "flatten_module_start_zero",
        "kind": "flatten_eats_batch",
        "input": ((6, 2, 10), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "layers.3",
        "expected": "in_features=128",
        "got": "[768]",
        "fix": [("nn.Flatten(0)", "nn.Flatten()")],
        "say": "nn.Flatten(0) also flattens the batch of 6: layers.3 gets [768] = 6*128; nn.Flatten()",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(2, 16, 3),
            nn.GELU(),
            nn.Flatten(0),
            nn.Linear(16 * 8, 1),
        )
    def forward(self, x):
        return self.layers(x)
""",
    },
    {
        "id": "conv_channels_in_loop",
        "kind": "conv_in_channels",
        "input": ((2, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "blocks.2.conv",
        "expected": "64 channels",
        "got": "32",
        "fix": [("OUT = [16, 32, 128]", "OUT = [16, 64, 128]")],
        "say": "blocks.2.conv (Conv2d) expects 64 input channels but blocks.1 gives 32: make the two lists agree",
        "code": """\
IN = [3, 16, 64]
OUT = [16, 32, 128]

class Block(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(o)
    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(i, o) for i, o in zip(IN, OUT)])
        self.fc = nn.Linear(OUT[-1], 10)
    def forward(self, x):
        for block in self.blocks:
            x = F.max_pool2d(block(x), 2)
        return self.fc(x.mean(dim=(2, 3)))
""",
    },
    {
        "id": "unet_decoder_forgot_skip",
        "kind": "conv_in_channels",
        "input": ((1, 3, 64, 64), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "dec1.block.0",
        "expected": "32 channels",
        "got": "64",
        "fix": [("self.dec1 = DoubleConv(32, 32)", "self.dec1 = DoubleConv(64, 32)")],
        "say": "dec1.block.0 (Conv2d) expects 32 input channels but the cat of skip and upsampled gives 32 + 32 = 64: DoubleConv(64, 32)",
        "code": """\
class DoubleConv(nn.Module):
    def __init__(self, in_ch, out_ch):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(in_ch, out_ch, 3, padding=1), nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True),
            nn.Conv2d(out_ch, out_ch, 3, padding=1), nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.block(x)

class Net(nn.Module):
    def __init__(self, n_classes=2):
        super().__init__()
        self.enc1 = DoubleConv(3, 32)
        self.enc2 = DoubleConv(32, 64)
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = DoubleConv(64, 128)
        self.up2 = nn.ConvTranspose2d(128, 64, 2, stride=2)
        self.dec2 = DoubleConv(128, 64)
        self.up1 = nn.ConvTranspose2d(64, 32, 2, stride=2)
        self.dec1 = DoubleConv(32, 32)
        self.out = nn.Conv2d(32, n_classes, 1)

    def forward(self, x):
        e1 = self.enc1(x)
        e2 = self.enc2(self.pool(e1))
        b = self.bottleneck(self.pool(e2))
        d2 = self.dec2(torch.cat([self.up2(b), e2], dim=1))
        d1 = self.dec1(torch.cat([self.up1(d2), e1], dim=1))
        return self.out(d1)
""",
    },
    {
        "id": "dense_block_growth",
        "kind": "conv_in_channels",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "dense.layers.2.conv",
        "expected": "36 channels",
        "got": "48",
        "fix": [("in_channels + min(i, 1) * growth_rate", "in_channels + i * growth_rate")],
        "say": "dense.layers.2.conv (Conv2d) expects 36 input channels but the concatenated features have 24 + 12 + 12 = 48: in_channels + i * growth_rate",
        "code": """\
class DenseLayer(nn.Module):
    def __init__(self, c_in, growth_rate):
        super().__init__()
        self.conv = nn.Conv2d(c_in, growth_rate, 3, padding=1)

    def forward(self, x):
        return torch.cat([x, F.relu(self.conv(x))], 1)

class DenseBlock(nn.Module):
    def __init__(self, n, in_channels, growth_rate):
        super().__init__()
        self.layers = nn.ModuleList()
        for i in range(n):
            self.layers.append(DenseLayer(in_channels + min(i, 1) * growth_rate, growth_rate))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

class Net(nn.Module):
    def __init__(self, growth_rate=12):
        super().__init__()
        self.stem = nn.Conv2d(3, 2 * growth_rate, 3, padding=1)
        self.dense = DenseBlock(4, 2 * growth_rate, growth_rate)
        self.fc = nn.Linear(6 * growth_rate, 10)

    def forward(self, x):
        x = self.dense(self.stem(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
""",
    },
    {
        "id": "inception_branches_sum",
        "kind": "conv_in_channels",
        "input": ((2, 3, 24, 24), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "inc2.b1",
        "expected": "32 channels",
        "got": "40",
        "fix": [("Inception(32), Inception(32)", "Inception(32), Inception(40)")],
        "say": "inc2.b1 (Conv2d) expects 32 input channels but inc1 concatenates 16 + 16 + 8 = 40: Inception(40)",
        "code": """\
class Inception(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.b1 = nn.Conv2d(c, 16, 1)
        self.b3 = nn.Sequential(nn.Conv2d(c, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1))
        self.bp = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(c, 8, 1))
    def forward(self, x):
        return torch.cat([f(x) for f in (self.b1, self.b3, self.bp)], dim=1)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2)
        self.inc1, self.inc2 = Inception(32), Inception(32)
        self.fc = nn.Linear(40, 7)
    def forward(self, x):
        x = F.relu(self.stem(x))
        x = self.inc2(self.inc1(x))
        return self.fc(x.mean([-2, -1]))
""",
    },
    {
        "id": "dcgan_generator_step",
        "kind": "conv_in_channels",
        "input": ((4, 100, 1, 1), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "main.3",
        "expected": "64 channels",
        "got": "128",
        "fix": [
            (
                "nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False)",
                "nn.ConvTranspose2d(ngf * 8, ngf * 2, 4, 2, 1, bias=False)",
            )
        ],
        "say": "main.3 (ConvTranspose2d) expects 64 input channels but main.0 gives 128: nn.ConvTranspose2d(ngf * 8, ...)",
        "code": """\
nz, ngf, nc = 100, 16, 3

class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 8, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 8),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.main(z)
""",
    },
    {
        "id": "separable_pointwise",
        "kind": "conv_in_channels",
        "input": ((2, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "layers.1.pointwise",
        "expected": "16 channels",
        "got": "32",
        "fix": [
            (
                "self.pointwise = nn.Conv2d(base, c_out, 1)",
                "self.pointwise = nn.Conv2d(c_in, c_out, 1)",
            )
        ],
        "say": "layers.1.pointwise (Conv2d) expects 16 input channels but the depthwise convolution gives 32: nn.Conv2d(c_in, c_out, 1)",
        "code": """\
class Separable(nn.Module):
    def __init__(self, c_in, c_out, stride=1, base=16):
        super().__init__()
        self.depthwise = nn.Conv2d(c_in, c_in, 3, stride, 1, groups=c_in)
        self.pointwise = nn.Conv2d(base, c_out, 1)
    def forward(self, x):
        return F.relu6(self.pointwise(self.depthwise(x)))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.layers = nn.Sequential(Separable(16, 32), Separable(32, 64, stride=2))
        self.fc = nn.Linear(64, 10)
    def forward(self, x):
        x = self.layers(self.stem(x))
        return self.fc(x.mean((2, 3)))
""",
    },
    {
        "id": "patch_gan_condition_channels",
        "kind": "conv_in_channels",
        "input": ((1, 3, 32, 32), "float32"),
        "inputs": [((1, 3, 32, 32), "float32"), ((1, 1, 32, 32), "float32")],
        "mode": "eval",
        "where": "forward",
        "layer": "model.0",
        "expected": "3 channels",
        "got": "4",
        "fix": [("in_channels=3", "in_channels=3 + 1")],
        "say": "model.0 (Conv2d) expects 3 input channels but the cat of image and condition has 3 + 1 = 4",
        "code": '''\
class Net(nn.Module):
    """The discriminator of pix2pix."""
    def __init__(self, in_channels=3, ndf=8):
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(in_channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1), nn.BatchNorm2d(ndf * 2), nn.LeakyReLU(0.2, True),
            nn.Conv2d(ndf * 2, 1, 4, 1, 1),
        )
    def forward(self, image, condition):
        return self.model(torch.cat([image, condition], 1))
''',
    },
    {
        "id": "mnist_into_rgb_cnn",
        "kind": "input_channels",
        "input": ((32, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "features.0",
        "expected": "3 channels",
        "got": "1",
        "fix": [("in_channels=3", "in_channels=1")],
        "fix_input": "x.expand(-1, 3, -1, -1)",
        "say": "the INPUT has 1 channel (grayscale) but features.0 wants 3: Grayscale(num_output_channels=3) / x.expand(-1, 3, -1, -1), or in_channels=1",
        "code": """\
class Net(nn.Module):
    def __init__(self, in_channels=3, num_classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 2)),
        )
        self.classifier = nn.Linear(16 * 2 * 2, num_classes)

    def forward(self, x):
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.classifier(x)
""",
    },
    {
        "id": "colour_into_gray_cnn",
        "kind": "input_channels",
        "input": ((5, 3, 48, 48), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "conv1",
        "expected": "1 channel",
        "got": "3",
        "fix": [("self.conv1 = nn.Conv2d(1, 10", "self.conv1 = nn.Conv2d(3, 10")],
        "fix_input": "x.mean(dim=1, keepdim=True)",
        "say": "the INPUT has 3 channels (RGB) but conv1 wants 1: transforms.Grayscale(), or nn.Conv2d(3, 10, 5)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(20 * 9 * 9, 50)
        self.fc2 = nn.Linear(50, 2)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 1620)
        x = F.dropout(F.relu(self.fc1(x)), training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)
""",
    },
    {
        "id": "rgba_png",
        "kind": "input_channels",
        "input": ((2, 4, 64, 64), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "model.features.0",
        "expected": "3 channels",
        "got": "4",
        "fix": [],
        "fix_input": "x[:, :3]",
        "say": "the INPUT has 4 channels (RGBA?) but model.features.0 wants 3: Image.open(path).convert('RGB'), or x[:, :3]",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = torchvision.models.squeezenet1_1(weights=None, num_classes=2)

    def forward(self, x):
        return self.model(x)
""",
    },
    {
        "id": "one_image_no_batch_flatten",
        "kind": "batch_dim_missing",
        "input": ((3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc",
        "expected": "in_features=3600",
        "got": "[16, 225]",
        "fix": [],
        "fix_input": "x.unsqueeze(0)",
        "say": "the INPUT [3, 32, 32] is a single image without the batch dimension, so flatten(1) kept the 16 channels: x.unsqueeze(0)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(16 * 15 * 15, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv(x)))
        return self.fc(torch.flatten(x, 1))
""",
    },
    {
        "id": "one_image_into_resnet",
        "kind": "batch_dim_missing",
        "input": ((3, 64, 64), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "encoder.bn1",
        "expected": "4D input",
        "got": "3D input",
        "fix": [],
        "fix_input": "x[None]",
        "say": "encoder.bn1 (BatchNorm2d) wants 4-D [N, 64, H, W] but the INPUT [3, 64, 64] is one image without a batch: x.unsqueeze(0)",
        "code": """\
class Net(nn.Module):
    def __init__(self, n_classes=4):
        super().__init__()
        self.encoder = torchvision.models.resnet18()
        self.encoder.fc = nn.Identity()
        self.head = nn.Linear(512, n_classes)

    def forward(self, x):
        return self.head(self.encoder(x))
""",
    },
    {
        "id": "one_row_into_batchnorm",
        "kind": "batch_dim_missing",
        "input": ((20,), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "net.1",
        "expected": "2D or 3D input",
        "got": "1D input",
        "fix": [],
        "fix_input": "x.reshape(1, -1)",
        "say": "net.1 (BatchNorm1d) wants [N, 16] but the INPUT [20] is one row without a batch: x.unsqueeze(0)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    def forward(self, row):
        return self.net(row)
""",
    },
    {
        "id": "mnist_without_channel",
        "kind": "channel_dim_missing",
        "input": ((16, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "conv1",
        "expected": "1 channel",
        "got": "16",
        "fix": [("x = F.relu(self.conv1(x))", "x = F.relu(self.conv1(x.unsqueeze(1)))")],
        "fix_input": "x.unsqueeze(1)",
        "say": "the INPUT [16, 28, 28] has no channel dimension, so conv1 takes the batch of 16 for channels: x.unsqueeze(1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return self.fc(x.amax(dim=(2, 3)))
""",
    },
    {
        "id": "audio_without_channel",
        "kind": "channel_dim_missing",
        "input": ((8, 400), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "encoder.0",
        "expected": "1 channel",
        "got": "8",
        "fix": [],
        "fix_input": "x[:, None, :]",
        "say": "the INPUT [8, 400] has no channel dimension, so encoder.0 (Conv1d) takes the batch of 8 for channels: x.unsqueeze(1)",
        "code": """\
class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(1, 16, 80, stride=4), nn.ReLU(), nn.MaxPool1d(4), nn.Conv1d(16, 32, 3), nn.ReLU())
        self.fc = nn.Linear(32, classes)

    def forward(self, waveform):
        h = self.encoder(waveform)
        h = h.mean(dim=-1)
        return self.fc(h)
""",
    },
    {
        "id": "ct_volume_without_channel",
        "kind": "channel_dim_missing",
        "input": ((2, 16, 24, 24), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "stem",
        "expected": "1 channel",
        "got": "2",
        "fix": [],
        "fix_input": "x.unsqueeze(1)",
        "say": "the INPUT [2, 16, 24, 24] has no channel dimension: Conv3d wants [N, 1, D, H, W], x.unsqueeze(1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(1, 4, 3, padding=1)
        self.down = nn.Conv3d(4, 8, 3, stride=2, padding=1)
        self.fc = nn.Linear(8, 2)
    def forward(self, volume):
        return self.fc(self.down(self.stem(volume).relu()).mean(dim=(2, 3, 4)))
""",
    },
    {
        "id": "opencv_batch_nhwc",
        "kind": "channels_last_input",
        "input": ((4, 48, 48, 3), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "backbone.stem.0",
        "expected": "3 channels",
        "got": "48",
        "fix": [],
        "fix_input": "x.permute(0, 3, 1, 2)",
        "say": "the INPUT [4, 48, 48, 3] looks like NHWC (OpenCV, TensorFlow); PyTorch wants NCHW: x.permute(0, 3, 1, 2)",
        "code": """\
class Backbone(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.SiLU())
        self.conv = nn.Conv2d(width, width * 2, 3)
    def forward(self, x):
        return self.conv(self.stem(x))

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.backbone = Backbone(width)
        self.fc = nn.Linear(width * 2, 2)
    def forward(self, x):
        return self.fc(self.backbone(x).mean((-1, -2)))
""",
    },
    {
        "id": "keras_mnist_nhwc",
        "kind": "channels_last_input",
        "input": ((16, 28, 28, 1), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "layer1.0",
        "expected": "1 channel",
        "got": "28",
        "fix": [],
        "fix_input": "x.permute(0, 3, 1, 2)",
        "say": "the INPUT [16, 28, 28, 1] looks like NHWC (Keras); PyTorch wants NCHW: x.permute(0, 3, 1, 2)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
        self.layer2 = nn.Sequential(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Linear(7 * 7 * 32, 10)
    def forward(self, x):
        out = self.layer2(self.layer1(x))
        return self.fc(out.reshape(out.size(0), -1))
""",
    },
    {
        "id": "one_photo_hwc",
        "kind": "channels_last_input",
        "input": ((40, 60, 3), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "conv",
        "expected": "3 channels",
        "got": "40",
        "fix": [],
        "fix_input": "x.permute(2, 0, 1)",
        "say": "the INPUT [40, 60, 3] looks like HWC (PIL, matplotlib); PyTorch wants CHW: x.permute(2, 0, 1)",
        "code": '''\
class Net(nn.Module):
    """Edge filter of one photo."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1, bias=False)
    def forward(self, photo):
        return self.conv(photo).abs()
''',
    },
    {
        "id": "nlc_into_conv1d",
        "kind": "sequence_layout",
        "input": ((4, 100, 12), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "convs.0",
        "expected": "12 channels",
        "got": "100",
        "fix": [
            ("for conv in self.convs:", "x = x.transpose(1, 2)\n        for conv in self.convs:")
        ],
        "fix_input": "x.transpose(1, 2)",
        "say": "convs.0 (Conv1d) wants [N, C, L] with 12 channels but gets [4, 100, 12], which is [N, L, C]: x.transpose(1, 2)",
        "code": """\
class Net(nn.Module):
    def __init__(self, n_sensors=12, width=32, depth=3):
        super().__init__()
        dims = [n_sensors] + [width] * depth
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 3, padding=1) for a, b in zip(dims, dims[1:]))
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.out(x.mean(dim=2))
""",
    },
    {
        "id": "textcnn_embedding_into_conv1d",
        "kind": "sequence_layout",
        "input": ((8, 40), "int64"),
        "below": 500,
        "mode": "eval",
        "where": "forward",
        "layer": "conv3",
        "expected": "50 channels",
        "got": "40",
        "fix": [("x = self.embedding(x)", "x = self.embedding(x).permute(0, 2, 1)")],
        "say": "conv3 (Conv1d) wants [N, 50, L] but the embedding gives [8, 40, 50] = [N, L, C]: permute(0, 2, 1)",
        "code": """\
VOCAB_SIZE = 500
EMB_DIM = 50

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, EMB_DIM)
        self.conv3 = nn.Conv1d(EMB_DIM, 20, 3)
        self.conv5 = nn.Conv1d(EMB_DIM, 20, 5)
        self.fc = nn.Linear(40, 2)

    def forward(self, x):
        x = self.embedding(x)
        a = F.relu(self.conv3(x)).max(dim=2).values
        b = F.relu(self.conv5(x)).max(dim=2).values
        return self.fc(torch.cat([a, b], dim=1))
""",
    },
    {
        "id": "conv_features_into_lstm",
        "kind": "sequence_layout",
        "input": ((4, 1, 160), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "rnn",
        "expected": "input_size=32",
        "got": "78",
        "fix": [("h = self.cnn(x)", "h = self.cnn(x).transpose(1, 2)")],
        "say": "rnn (LSTM) wants [N, L, 32] but the convolutions give [4, 32, 78] = [N, C, L]: transpose(1, 2)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv1d(1, 32, 5), nn.ReLU(), nn.MaxPool1d(2))
        self.rnn = nn.LSTM(input_size=32, hidden_size=48, batch_first=True)
        self.fc = nn.Linear(48, 3)

    def forward(self, x):
        h = self.cnn(x)
        out, _ = self.rnn(h)
        return self.fc(out[:, -1, :])
""",
    },
    {
        "id": "conv_features_into_linear",
        "kind": "sequence_layout",
        "input": ((4, 8, 50), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "proj",
        "expected": "in_features=24",
        "got": "[4, 24, 50]",
        "fix": [("self.proj(x)", "self.proj(x.transpose(1, 2))")],
        "say": "proj (Linear) wants the 24 features last but gets [4, 24, 50] = [N, C, L]: transpose(1, 2)",
        "code": """\
class Net(nn.Module):
    def __init__(self, in_ch=8, d_model=24):
        super().__init__()
        self.conv = nn.Conv1d(in_ch, d_model, 3, padding=1)
        self.proj = nn.Linear(d_model, d_model)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x):
        x = self.conv(x)
        x = self.proj(x)
        return self.norm(x)
""",
    },
    {
        "id": "lstm_last_hidden_no_batch_first",
        "kind": "sequence_layout",
        "input": ((16, 50, 8), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "batch 16",
        "got": "batch 50",
        "loss": "F.cross_entropy(out, torch.arange(16) % 3)",
        "loss_name": "CrossEntropyLoss",
        "target": ((16,), "int64", 3),
        "fix": [("nn.LSTM(8, 32)", "nn.LSTM(8, 32, batch_first=True)")],
        "fix_input": "x.transpose(0, 1)",
        "say": "lstm has no batch_first=True, so it took the 16 samples for time steps: the output has 50 rows for 16 labels",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 32)
        self.fc = nn.Linear(32, 3)

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.fc(h[-1])
""",
    },
    {
        "id": "gru_last_step_no_batch_first",
        "kind": "sequence_layout",
        "input": ((12, 30), "int64"),
        "below": 200,
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "batch 12",
        "got": "batch 30",
        "loss": "F.binary_cross_entropy_with_logits(out, torch.ones(12))",
        "loss_name": "BCEWithLogitsLoss",
        "target": ((12,), "float32", 2),
        "fix": [
            ("nn.GRU(emb, hid, num_layers=2)", "nn.GRU(emb, hid, num_layers=2, batch_first=True)"),
            ("out[-1]", "out[:, -1]"),
        ],
        "say": "rnn has no batch_first=True, so out[-1] is [30, 24]: 30 scores for 12 labels",
        "code": """\
class Net(nn.Module):
    def __init__(self, vocab=200, emb=16, hid=24):
        super().__init__()
        self.emb = nn.Embedding(vocab, emb, padding_idx=0)
        self.rnn = nn.GRU(emb, hid, num_layers=2)
        self.score = nn.Linear(hid, 1)

    def forward(self, tokens):
        out, h = self.rnn(self.emb(tokens))
        return self.score(out[-1]).squeeze(1)
""",
    },
    {
        "id": "lstm_no_batch_first_silent",
        "kind": "batch_mixed",
        "input": ((16, 50, 8), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "lstm",
        "expected": "batch_first=True",
        "got": "batch_first=False",
        "fix": [("self.lstm = nn.LSTM(8, 32)", "self.lstm = nn.LSTM(8, 32, batch_first=True)")],
        "say": "lstm has no batch_first=True: it runs along the batch of 16, every sample's output depends on the samples before it",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 32)
        self.fc = nn.Linear(32, 3)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1])
""",
    },
    {
        "id": "transformer_no_batch_first_silent",
        "kind": "batch_mixed",
        "input": ((6, 10, 32), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "encoder",
        "expected": "batch_first=True",
        "got": "batch_first=False",
        "fix": [
            (
                "nn.TransformerEncoderLayer(d_model, nhead, 64)",
                "nn.TransformerEncoderLayer(d_model, nhead, 64, batch_first=True)",
            )
        ],
        "say": "the encoder layer has no batch_first=True: it attends between the 6 samples of the batch instead of the 10 steps",
        "code": """\
class Net(nn.Module):
    def __init__(self, d_model=32, nhead=4, layers=2):
        super().__init__()
        layer = nn.TransformerEncoderLayer(d_model, nhead, 64)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.cls = nn.Linear(d_model, 5)

    def forward(self, x):
        return self.cls(self.encoder(x).mean(dim=1))
""",
    },
    {
        "id": "view_used_as_transpose_silent",
        "kind": "batch_mixed",
        "input": ((5, 7, 4), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "",
        "expected": "transpose",
        "got": "view",
        "fix": [("x.view(x.size(1), x.size(0), -1)", "x.transpose(0, 1)")],
        "say": "x.view(L, N, -1) does not swap the axes, it mixes the samples: x.transpose(0, 1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 6)
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        # the RNN wants [L, N, C]
        x = x.view(x.size(1), x.size(0), -1)
        out, h = self.rnn(x)
        return self.fc(h.squeeze(0))
""",
    },
    {
        "id": "numpy_features_float64",
        "kind": "dtype",
        "input": ((32, 10), "float64"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc1",
        "expected": "float32",
        "got": "float64",
        "fix": [],
        "fix_input": "x.float()",
        "say": "fc1 weights are float32 but the input is float64 (NumPy's default): x.float(), or torch.tensor(a, dtype=torch.float32)",
        "code": """\
class Net(nn.Module):
    def __init__(self, n_features=10):
        super().__init__()
        self.fc1 = nn.Linear(n_features, 16)
        self.fc2 = nn.Linear(16, 1)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))
""",
    },
    {
        "id": "opencv_uint8",
        "kind": "dtype",
        "input": ((2, 3, 40, 40), "uint8"),
        "mode": "eval",
        "where": "forward",
        "layer": "net.conv0",
        "expected": "float32",
        "got": "uint8",
        "fix": [],
        "fix_input": "x.to(torch.float32) / 255",
        "say": "net.conv0 weights are float32 but the images are uint8: x.float() / 255",
        "code": """\
class Net(nn.Module):
    def __init__(self, channels=(3, 8, 16)):
        super().__init__()
        self.net = nn.Sequential()
        for i in range(len(channels) - 1):
            self.net.add_module(f'conv{i}', nn.Conv2d(channels[i], channels[i + 1], 3, stride=2))
            self.net.add_module(f'relu{i}', nn.ReLU())
        self.net.add_module('pool', nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return self.net(x).flatten(1)
""",
    },
    {
        "id": "token_ids_as_float",
        "kind": "dtype",
        "input": ((4, 12), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "embed",
        "expected": "int64",
        "got": "float32",
        "fix": [("self.embed(tokens)", "self.embed(tokens.abs().long())")],
        "fix_input": "torch.zeros_like(x).long()",
        "say": "embed (Embedding) wants integer token ids but gets float32: tokens.long()",
        "code": """\
class Net(nn.Module):
    def __init__(self, vocab_size=100, dim=16):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, dim)
        self.rnn = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, 2)

    def forward(self, tokens):
        e = self.embed(tokens)
        _, h = self.rnn(e)
        return self.out(h[0])
""",
    },
    {
        "id": "integer_table_into_linear",
        "kind": "dtype",
        "input": ((16, 5), "int64"),
        "below": 100,
        "mode": "eval",
        "where": "forward",
        "layer": "net.0",
        "expected": "float32",
        "got": "int64",
        "fix": [],
        "fix_input": "x.float()",
        "say": "net.0 weights are float32 but the table is int64: x.float()",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "half_model_float_input",
        "kind": "dtype",
        "input": ((4, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "conv",
        "expected": "bfloat16",
        "got": "float32",
        "fix": [("self.to(torch.bfloat16)", "pass")],
        "fix_input": "x.bfloat16()",
        "say": "conv weights are bfloat16 but the input is float32: x.bfloat16()",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(8, 2)
        self.to(torch.bfloat16)
    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))
""",
    },
    {
        "id": "mask_of_numpy_float64_in_forward",
        "kind": "dtype",
        "input": ((4, 6, 8), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "out",
        "expected": "float32",
        "got": "float64",
        "fix": [("dtype=np.float64", "dtype=np.float32")],
        "say": "out (Linear) gets float64: x * self.window turned float32 into float64 because the window comes from NumPy; window.float()",
        "code": """\
import numpy as np

class Net(nn.Module):
    def __init__(self, length=6):
        super().__init__()
        window = np.hanning(length).astype(dtype=np.float64)
        self.register_buffer('window', torch.from_numpy(window))
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        x = x * self.window[:, None]
        return self.out(x.sum(dim=1))
""",
    },
    {
        "id": "position_embedding_too_short",
        "kind": "index_out_of_range",
        "input": ((2, 80), "int64"),
        "below": 65,
        "mode": "eval",
        "where": "forward",
        "layer": "pos_emb",
        "expected": "num_embeddings=64",
        "got": "79",
        "fix": [("block_size = 64", "block_size = 128")],
        "fix_input": "x[:, :64]",
        "say": "pos_emb (Embedding) has 64 positions but the sequence is 80 long (index 79): raise block_size or cut the sequence",
        "code": '''\
block_size = 64
n_embd = 32
vocab_size = 65

class Net(nn.Module):
    """A tiny GPT without the blocks."""
    def __init__(self):
        super().__init__()
        self.tok_emb = nn.Embedding(vocab_size, n_embd)
        self.pos_emb = nn.Embedding(block_size, n_embd)
        self.ln_f = nn.LayerNorm(n_embd)
        self.lm_head = nn.Linear(n_embd, vocab_size)

    def forward(self, idx):
        B, T = idx.shape
        x = self.tok_emb(idx) + self.pos_emb(torch.arange(T, device=idx.device))
        return self.lm_head(self.ln_f(x))
''',
    },
    {
        "id": "ascii_table_gets_bytes",
        "kind": "index_out_of_range",
        "input": ((8, 64), "int64"),
        "below": 256,
        "mode": "eval",
        "where": "forward",
        "layer": "encoder.char_emb",
        "expected": "num_embeddings=128",
        "got": "255",
        "fix": [("num_chars=128", "num_chars=256")],
        "fix_input": "x.clamp(max=127)",
        "say": "encoder.char_emb (Embedding) has 128 rows but the input holds ids up to 255: num_chars=256",
        "code": """\
class CharEncoder(nn.Module):
    def __init__(self, num_chars=128, dim=16):
        super().__init__()
        self.char_emb = nn.Embedding(num_chars, dim)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
    def forward(self, chars):
        out, (h, c) = self.lstm(self.char_emb(chars))
        return h[-1]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = CharEncoder()
        self.tagger = nn.Linear(16, 3)
    def forward(self, chars):
        return self.tagger(self.encoder(chars))
""",
    },
    {
        "id": "pad_token_is_the_vocab_size",
        "kind": "index_out_of_range",
        "input": ((16, 64), "int64"),
        "below": 51,
        "mode": "eval",
        "where": "forward",
        "layer": "emb",
        "expected": "num_embeddings=50",
        "got": "50",
        "fix": [("nn.Embedding(VOCAB, 24)", "nn.Embedding(VOCAB + 1, 24, padding_idx=PAD)")],
        "say": "emb (Embedding) has 50 rows (ids 0 to 49) but the input holds id 50, the padding: nn.Embedding(51, 24, padding_idx=50)",
        "code": """\
VOCAB = 50
PAD = VOCAB

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, 24)
        self.fc = nn.Linear(24, 4)
    def forward(self, x):
        mask = (x != PAD).unsqueeze(-1)
        e = self.emb(x) * mask
        return self.fc(e.sum(1) / mask.sum(1).clamp(min=1))
""",
    },
    {
        "id": "categorical_columns_cardinality",
        "kind": "index_out_of_range",
        "input": ((64, 3), "int64"),
        "below": 12,
        "mode": "eval",
        "where": "forward",
        "layer": "embeds.1",
        "expected": "num_embeddings=7",
        "got": "11",
        "fix": [("CARDINALITIES = [12, 7, 24]", "CARDINALITIES = [12, 12, 24]")],
        "fix_input": "x.clamp(max=6)",
        "say": "embeds.1 (Embedding) has 7 rows but column 1 holds values up to 11: its cardinality is 12",
        "code": """\
CARDINALITIES = [12, 7, 24]  # month, weekday, hour

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeds = nn.ModuleList([nn.Embedding(n, min(50, (n + 1) // 2)) for n in CARDINALITIES])
        self.fc = nn.Linear(sum(e.embedding_dim for e in self.embeds), 1)
    def forward(self, x):
        x = torch.cat([e(x[:, i]) for i, e in enumerate(self.embeds)], dim=1)
        return self.fc(x)
""",
    },
    {
        "id": "cross_entropy_float_labels",
        "kind": "label_dtype",
        "input": ((10, 6), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "int64 (Long)",
        "got": "float32",
        "loss": "F.cross_entropy(out, torch.ones(10))",
        "loss_name": "CrossEntropyLoss",
        "target": ((10,), "float32", None),
        "fix": [],
        "fix_loss": "F.cross_entropy(out, torch.ones(10).long())",
        "say": "class labels must be int64 but are float32: y.long()",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(6, 12)
        self.output = nn.Linear(12, 3)
    def forward(self, x):
        x = F.relu(self.hidden(x))
        x = self.output(x)
        return x
""",
    },
    {
        "id": "nll_int32_labels",
        "kind": "label_dtype",
        "input": ((9, 1, 12, 12), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "int64 (Long)",
        "got": "int32",
        "loss": "F.nll_loss(out, torch.arange(9, dtype=torch.int32))",
        "loss_name": "NLLLoss",
        "target": ((9,), "int32", 10),
        "fix": [],
        "fix_loss": "F.nll_loss(out, torch.arange(9, dtype=torch.int32).long())",
        "say": "class labels must be int64 but are int32 (from NumPy or pandas): y.long()",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(400, 10)
    def forward(self, x):
        x = self.conv(x).relu().flatten(1)
        return F.log_softmax(self.fc(x), dim=1)
""",
    },
    {
        "id": "bce_int64_target",
        "kind": "label_dtype",
        "input": ((16, 30), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "float32",
        "got": "int64",
        "loss": "nn.BCEWithLogitsLoss()(out, torch.ones(16, 1, dtype=torch.long))",
        "loss_name": "BCEWithLogitsLoss",
        "target": ((16, 1), "int64", 2),
        "fix": [],
        "fix_loss": "nn.BCEWithLogitsLoss()(out, torch.ones(16, 1, dtype=torch.long).float())",
        "say": "BCEWithLogitsLoss wants a float target but gets int64: y.float()",
        "code": '''\
class Net(nn.Module):
    """Breast cancer: benign or malignant."""
    def __init__(self):
        super().__init__()
        self.layer_1 = nn.Linear(30, 64)
        self.layer_2 = nn.Linear(64, 64)
        self.layer_out = nn.Linear(64, 1)
        self.batchnorm1 = nn.BatchNorm1d(64)
        self.dropout = nn.Dropout(p=0.1)

    def forward(self, inputs):
        x = F.relu(self.layer_1(inputs))
        x = self.batchnorm1(x)
        x = self.dropout(F.relu(self.layer_2(x)))
        return self.layer_out(x)
''',
    },
    {
        "id": "bce_int64_multilabel",
        "kind": "label_dtype",
        "input": ((4, 3, 24, 24), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "float32",
        "got": "int64",
        "loss": "F.binary_cross_entropy(out, torch.ones(4, 5, dtype=torch.long))",
        "loss_name": "BCELoss",
        "target": ((4, 5), "int64", 2),
        "fix": [],
        "fix_loss": "F.binary_cross_entropy(out, torch.ones(4, 5, dtype=torch.long).float())",
        "say": "BCELoss wants a float target but gets int64: y.float()",
        "code": """\
class Net(nn.Module):
    def __init__(self, labels=5):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.fc = nn.Linear(8, labels)
    def forward(self, x):
        return torch.sigmoid(self.fc(F.relu(self.conv(x)).mean((2, 3))))
""",
    },
    {
        "id": "labels_from_one",
        "kind": "label_range",
        "input": ((60, 4), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "3 classes (0 to 2)",
        "got": "label 3",
        "loss": "F.cross_entropy(out, torch.arange(60) % 3 + 1)",
        "loss_name": "CrossEntropyLoss",
        "target": ((60,), "int64", 4),
        "fix": [],
        "fix_loss": "F.cross_entropy(out, torch.arange(60) % 3)",
        "say": "label 3 is out of bounds for 3 outputs (0 to 2): are the labels counted from 1? y - 1",
        "code": '''\
class Net(nn.Module):
    """Iris."""
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3))
    def forward(self, x):
        return self.net(x)
''',
    },
    {
        "id": "cifar100_labels_ten_outputs",
        "kind": "label_range",
        "input": ((16, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "10 classes (0 to 9)",
        "got": "label 99",
        "loss": "F.cross_entropy(out, torch.arange(84, 100))",
        "loss_name": "CrossEntropyLoss",
        "target": ((16,), "int64", 100),
        "fix": [("num_classes=10", "num_classes=100")],
        "say": "label 99 is out of bounds for 10 outputs: num_classes=100",
        "code": """\
class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, stride=2)
        self.bn = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, num_classes)
    def forward(self, x):
        x = F.silu(self.bn(self.conv(x)))
        return self.fc(F.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1))
""",
    },
    {
        "id": "segmentation_label_255",
        "kind": "label_range",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "4 classes (0 to 3)",
        "got": "label 255",
        "loss": "F.cross_entropy(out, torch.full((2, 16, 16), 255))",
        "loss_name": "CrossEntropyLoss",
        "target": ((2, 16, 16), "int64", 256),
        "fix": [],
        "fix_loss": "F.cross_entropy(out, torch.cat([torch.full((1, 16, 16), 255), torch.zeros(1, 16, 16).long()]), ignore_index=255)",
        "say": 'label 255 is out of bounds for 4 outputs; 255 marks "ignore" in VOC and Cityscapes: CrossEntropyLoss(ignore_index=255)',
        "code": """\
class Net(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.encoder = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.decoder = nn.ConvTranspose2d(8, classes, 2, stride=2)
    def forward(self, x):
        return self.decoder(F.relu(self.encoder(x)))
""",
    },
    {
        "id": "one_logit_for_cross_entropy",
        "kind": "label_range",
        "input": ((20, 8), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "1 class (0 to 0)",
        "got": "label 1",
        "loss": "F.cross_entropy(out, torch.arange(20) % 2)",
        "loss_name": "CrossEntropyLoss",
        "target": ((20,), "int64", 2),
        "fix": [("nn.Linear(16, 1)", "nn.Linear(16, 2)")],
        "fix_loss": "F.binary_cross_entropy_with_logits(out.squeeze(1), (torch.arange(20) % 2).float())",
        "say": "cross entropy over one output [20, 1] knows only label 0: two outputs, or BCEWithLogitsLoss",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 16)
        self.b = nn.Linear(16, 1)
    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))
""",
    },
    {
        "id": "cross_entropy_column_of_labels",
        "kind": "target_shape",
        "input": ((16, 10), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "[16]",
        "got": "[16, 1]",
        "loss": "F.cross_entropy(out, torch.zeros(16, 1, dtype=torch.long))",
        "loss_name": "CrossEntropyLoss",
        "target": ((16, 1), "int64", 3),
        "fix": [],
        "fix_loss": "F.cross_entropy(out, torch.zeros(16, 1, dtype=torch.long).squeeze(1))",
        "say": "the labels are [16, 1], cross entropy wants [16]: y.squeeze(1)",
        "code": """\
class Net(nn.Module):
    def __init__(self, in_dim=10, num_classes=3):
        super().__init__()
        self.fc = nn.Linear(in_dim, num_classes)
    def forward(self, x):
        return self.fc(x)
""",
    },
    {
        "id": "cross_entropy_one_hot_int",
        "kind": "target_shape",
        "input": ((6, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "[6]",
        "got": "[6, 10]",
        "loss": "F.cross_entropy(out, F.one_hot(torch.arange(6), 10))",
        "loss_name": "CrossEntropyLoss",
        "target": ((6, 10), "int64", 2),
        "fix": [],
        "fix_loss": "F.cross_entropy(out, F.one_hot(torch.arange(6), 10).argmax(1))",
        "say": "the labels are one-hot int64 [6, 10]; cross entropy wants class indices [6]: y.argmax(1) (or y.float())",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.seq = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))
    def forward(self, x):
        return self.seq(x)
""",
    },
    {
        "id": "segmentation_mask_with_channel",
        "kind": "target_shape",
        "input": ((2, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "[2, 32, 32]",
        "got": "[2, 1, 32, 32]",
        "loss": "F.cross_entropy(out, torch.zeros(2, 1, 32, 32, dtype=torch.long))",
        "loss_name": "CrossEntropyLoss",
        "target": ((2, 1, 32, 32), "int64", 5),
        "fix": [],
        "fix_loss": "F.cross_entropy(out, torch.zeros(2, 1, 32, 32, dtype=torch.long).squeeze(1))",
        "say": "the masks are [2, 1, 32, 32], cross entropy over [2, 5, 32, 32] wants [2, 32, 32]: y.squeeze(1)",
        "code": """\
def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(inplace=True))

class Net(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.down = block(3, 8)
        self.mid = block(8, 16)
        self.up = nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False)
        self.out = nn.Conv2d(16, classes, 1)
    def forward(self, x):
        x = F.max_pool2d(self.down(x), 2)
        return self.out(self.up(self.mid(x)))
""",
    },
    {
        "id": "segmentation_mask_too_large",
        "kind": "target_shape",
        "input": ((2, 3, 64, 64), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "[2, 64, 64]",
        "got": "[2, 2, 32, 32]",
        "loss": "F.cross_entropy(out, torch.zeros(2, 64, 64, dtype=torch.long))",
        "loss_name": "CrossEntropyLoss",
        "target": ((2, 64, 64), "int64", 2),
        "fix": [("return self.score(x)", "return F.interpolate(self.score(x), scale_factor=2)")],
        "say": "the output is [2, 2, 32, 32] but the masks are [2, 64, 64]: upsample the logits by 2 with F.interpolate",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.score = nn.Conv2d(8, 2, 1)
    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return self.score(x)
""",
    },
    {
        "id": "bce_column_against_row",
        "kind": "target_shape",
        "input": ((8, 5), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "[8, 1]",
        "got": "[8]",
        "loss": "F.binary_cross_entropy_with_logits(out, torch.ones(8))",
        "loss_name": "BCEWithLogitsLoss",
        "target": ((8,), "float32", 2),
        "fix": [("return self.out(x)", "return self.out(x).squeeze(-1)")],
        "fix_loss": "F.binary_cross_entropy_with_logits(out, torch.ones(8).unsqueeze(1))",
        "say": "the output is [8, 1] but the target is [8]: out.squeeze(1), or y.unsqueeze(1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(5, 5)
        self.out = nn.Linear(5, 1)
    def forward(self, x):
        x = F.elu(self.inp(x))
        return self.out(x)
""",
    },
    {
        "id": "autoencoder_one_pixel_short",
        "kind": "target_shape",
        "input": ((4, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "[4, 1, 28, 28]",
        "got": "[4, 1, 25, 25]",
        "loss": "F.mse_loss(out, torch.zeros(4, 1, 28, 28))",
        "loss_name": "MSELoss",
        "target": ((4, 1, 28, 28), "float32", None),
        "fix": [
            (
                "nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1)",
                "nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1)",
            ),
            (
                "nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1)",
                "nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1, output_padding=1)",
            ),
        ],
        "say": "the reconstruction is [4, 1, 25, 25] but the image is [4, 1, 28, 28]: output_padding=1 in both ConvTranspose2d",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1), nn.Sigmoid(),
        )
    def forward(self, x):
        return self.decoder(self.encoder(x))
""",
    },
    {
        "id": "lm_head_logits_layout",
        "kind": "logits_layout",
        "input": ((4, 12), "int64"),
        "below": 30,
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "[4, 30, 12]",
        "got": "[4, 12, 30]",
        "loss": "F.cross_entropy(out, torch.zeros(4, 12, dtype=torch.long))",
        "loss_name": "CrossEntropyLoss",
        "target": ((4, 12), "int64", 30),
        "fix": [("return self.head(h)", "return self.head(h).permute(0, 2, 1)")],
        "fix_loss": "F.cross_entropy(out.transpose(1, 2), torch.zeros(4, 12, dtype=torch.long))",
        "say": "cross entropy wants the classes second, [4, 30, 12], but the logits are [4, 12, 30]: out.transpose(1, 2), or out.flatten(0, 1) with y.flatten()",
        "code": """\
class Net(nn.Module):
    def __init__(self, vocab=30, d=16):
        super().__init__()
        self.emb = nn.Embedding(vocab, d)
        self.rnn = nn.GRU(d, d, batch_first=True)
        self.head = nn.Linear(d, vocab)
    def forward(self, ids):
        h, _ = self.rnn(self.emb(ids))
        return self.head(h)
""",
    },
    {
        "id": "ner_tagger_logits_layout",
        "kind": "logits_layout",
        "input": ((8, 20, 16), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "[8, 9, 20]",
        "got": "[8, 20, 9]",
        "loss": "F.nll_loss(out, torch.zeros(8, 20, dtype=torch.long))",
        "loss_name": "NLLLoss",
        "target": ((8, 20), "int64", 9),
        "fix": [],
        "fix_loss": "F.nll_loss(out.permute(0, 2, 1), torch.zeros(8, 20, dtype=torch.long))",
        "say": "NLLLoss wants the classes second, [8, 9, 20], but the output is [8, 20, 9]: out.permute(0, 2, 1)",
        "code": """\
TAGS = ['O'] + [p + t for p in ('B-', 'I-') for t in ('PER', 'LOC', 'ORG', 'MISC')]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(16, 10, bidirectional=True, batch_first=True)
        self.hidden2tag = nn.Linear(20, len(TAGS))
    def forward(self, words):
        feats = self.lstm(words)[0]
        return self.hidden2tag(feats).log_softmax(-1)
""",
    },
    {
        "id": "lm_flat_logits_but_not_labels",
        "kind": "logits_layout",
        "input": ((4, 15), "int64"),
        "below": 40,
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "[60]",
        "got": "[4, 15]",
        "loss": "F.cross_entropy(out, torch.zeros(4, 15, dtype=torch.long))",
        "loss_name": "CrossEntropyLoss",
        "target": ((4, 15), "int64", 40),
        "fix": [],
        "fix_loss": "F.cross_entropy(out, torch.zeros(4, 15, dtype=torch.long).view(-1))",
        "say": "the logits are flattened to [60, 40] but the labels are still [4, 15]: y.view(-1)",
        "code": """\
class Net(nn.Module):
    def __init__(self, vocab=40):
        super().__init__()
        self.vocab = vocab
        self.wte = nn.Embedding(vocab, 8)
        self.lm_head = nn.Linear(8, vocab, bias=False)
    def forward(self, idx):
        logits = self.lm_head(self.wte(idx))
        return logits.view(-1, self.vocab)
""",
    },
    {
        "id": "mse_column_against_row",
        "kind": "silent_broadcast",
        "input": ((32, 13), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "",
        "expected": "[32, 1]",
        "got": "[32]",
        "loss": "nn.MSELoss()(out, torch.linspace(0, 1, 32))",
        "loss_name": "MSELoss",
        "target": ((32,), "float32", None),
        "fix": [("return self.regressor(x)", "return self.regressor(x).squeeze(-1)")],
        "fix_loss": "nn.MSELoss()(out, torch.linspace(0, 1, 32).unsqueeze(1))",
        "say": "output [32, 1] and target [32] broadcast to [32, 32]: the loss is silently wrong; out.squeeze(-1), or y.unsqueeze(1)",
        "code": '''\
class Net(nn.Module):
    """House prices."""
    def __init__(self, n_in=13):
        super().__init__()
        self.regressor = nn.Sequential(nn.Linear(n_in, 24), nn.ReLU(), nn.Linear(24, 1))
    def forward(self, x):
        return self.regressor(x)
''',
    },
    {
        "id": "smooth_l1_row_against_column",
        "kind": "silent_broadcast",
        "input": ((10, 4, 6), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "",
        "expected": "[10]",
        "got": "[10, 1]",
        "loss": "F.smooth_l1_loss(out, torch.linspace(0, 1, 10).view(10, 1))",
        "loss_name": "SmoothL1Loss",
        "target": ((10, 1), "float32", None),
        "fix": [(".squeeze()", ".reshape(-1, 1)")],
        "fix_loss": "F.smooth_l1_loss(out, torch.linspace(0, 1, 10).view(10, 1).squeeze(1))",
        "say": "output [10] (squeezed) and target [10, 1] broadcast to [10, 10]: the loss is silently wrong; y.squeeze(1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.fc = nn.Linear(8, 1)
    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.fc(h[-1]).squeeze()
""",
    },
    {
        "id": "l1_heatmap_without_channel",
        "kind": "silent_broadcast",
        "input": ((3, 1, 8, 8), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "",
        "expected": "[3, 1, 8, 8]",
        "got": "[3, 8, 8]",
        "loss": "F.l1_loss(out, torch.ones(3, 8, 8))",
        "loss_name": "L1Loss",
        "target": ((3, 8, 8), "float32", None),
        "fix": [],
        "fix_loss": "F.l1_loss(out, torch.ones(3, 8, 8).unsqueeze(1))",
        "say": "output [3, 1, 8, 8] and target [3, 8, 8] broadcast to [3, 3, 8, 8]: the loss is silently wrong; y.unsqueeze(1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.denoise = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    def forward(self, x):
        return x - self.denoise(x)
""",
    },
    {
        "id": "softmax_before_cross_entropy",
        "kind": "double_softmax",
        "input": ((8, 16), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "model.3",
        "expected": "logits",
        "got": "probabilities",
        "loss": "F.cross_entropy(out, torch.zeros(8, dtype=torch.long))",
        "loss_name": "CrossEntropyLoss",
        "target": ((8,), "int64", 4),
        "fix": [(", nn.Softmax(dim=1))", ")")],
        "say": "model.3 (Softmax) gives probabilities but CrossEntropyLoss applies log_softmax itself: leave the Softmax out",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4), nn.Softmax(dim=1))
    def forward(self, x):
        return self.model(x)
""",
    },
    {
        "id": "sigmoid_before_bce_with_logits",
        "kind": "double_softmax",
        "input": ((8, 16), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "",
        "expected": "logits",
        "got": "probabilities",
        "loss": "F.binary_cross_entropy_with_logits(out, torch.ones(8))",
        "loss_name": "BCEWithLogitsLoss",
        "target": ((8,), "float32", 2),
        "fix": [("return torch.sigmoid(x).squeeze(1)", "return x.squeeze(1)")],
        "fix_loss": "F.binary_cross_entropy(out, torch.ones(8))",
        "say": "the output is already a sigmoid but BCEWithLogitsLoss applies one itself: leave it out, or BCELoss",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(16, 8)
        self.l2 = nn.Linear(8, 1)
    def forward(self, x):
        x = F.relu(self.l1(x))
        x = self.l2(x)
        return torch.sigmoid(x).squeeze(1)
""",
    },
    {
        "id": "tutorial_view_320",
        "kind": "hard_coded_view",
        "input": ((20, 1, 32, 32), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "batch 20",
        "got": "batch 25",
        "loss": "F.nll_loss(out, torch.arange(20) % 10)",
        "loss_name": "NLLLoss",
        "target": ((20,), "int64", 10),
        "fix": [
            ("x = x.view(-1, 400)", "x = x.view(x.size(0), -1)"),
            ("nn.Linear(400, 50)", "nn.Linear(500, 50)"),
        ],
        "say": "x.view(-1, 400) turned the batch of 20 into 25 rows; [20, 20, 5, 5] has 500 features: x.flatten(1) and nn.Linear(500, 50)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.fc1 = nn.Linear(400, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = x.view(-1, 400)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return F.log_softmax(x, dim=1)
""",
    },
    {
        "id": "cifar_tutorial_view_on_96",
        "kind": "hard_coded_view",
        "input": ((4, 3, 96, 96), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "batch 4",
        "got": "batch 84",
        "loss": "F.cross_entropy(out, torch.tensor([0, 1, 2, 3]))",
        "loss_name": "CrossEntropyLoss",
        "target": ((4,), "int64", 10),
        "fix": [
            ("x.view(-1, 16 * 21)", "x.flatten(1)"),
            ("nn.Linear(16 * 21, 84)", "nn.Linear(16 * 21 * 21, 84)"),
        ],
        "say": "x.view(-1, 336) turned the batch of 4 into 84 rows; [4, 16, 21, 21] has 7056 features: x.flatten(1) and nn.Linear(7056, 84)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 21, 84)
        self.fc2 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 21)
        x = F.relu(self.fc1(x))
        return self.fc2(x)
""",
    },
    {
        "id": "view_of_another_image_size",
        "kind": "hard_coded_view",
        "input": ((5, 3, 40, 40), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "400",
        "got": "[5, 16, 7, 7]",
        "fix": [
            ("x.view(-1, 16 * 5 * 5)", "x.view(-1, 16 * 7 * 7)"),
            ("nn.Linear(16 * 5 * 5, 120)", "nn.Linear(16 * 7 * 7, 120)"),
        ],
        "fix_input": "x[:, :, :32, :32]",
        "say": "x.view(-1, 400) does not fit [5, 16, 7, 7] (784 features a sample): x.flatten(1) and nn.Linear(784, 120)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return x
""",
    },
    {
        "id": "last_batch_is_smaller",
        "kind": "hard_coded_view",
        "input": ((40, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "64",
        "got": "[40, 1, 28, 28]",
        "fix": [("x.view(BATCH_SIZE, 784)", "x.view(-1, 784)")],
        "say": "x.view(64, 784) has the batch size written in, but this batch is 40 (the last of an epoch): x.flatten(1)",
        "code": """\
BATCH_SIZE = 64

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 100)
        self.fc2 = nn.Linear(100, 10)

    def forward(self, x):
        x = x.view(BATCH_SIZE, 784)
        x = F.relu(self.fc1(x))
        return self.fc2(x)
""",
    },
    {
        "id": "last_batch_into_wider_rows",
        "kind": "hard_coded_view",
        "input": ((24, 2, 8, 8), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc",
        "expected": "in_features=128",
        "got": "96",
        "fix": [("x.reshape(self.batch_size, -1)", "x.reshape(x.shape[0], -1)")],
        "say": "x.reshape(32, -1) has the batch size written in, so a batch of 24 gives rows of 96 instead of 128 features: x.flatten(1)",
        "code": """\
class Net(nn.Module):
    def __init__(self, batch_size=32):
        super().__init__()
        self.batch_size = batch_size
        self.fc = nn.Linear(2 * 8 * 8, 3)
    def forward(self, x):
        return self.fc(x.reshape(self.batch_size, -1))
""",
    },
    {
        "id": "initial_state_batch_size",
        "kind": "hard_coded_batch",
        "input": ((20, 15, 4), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "lstm",
        "expected": "[2, 20, 32]",
        "got": "[2, 64, 32]",
        "fix": [
            (
                "torch.zeros(self.n_layers, 64, self.n_hidden), torch.zeros(self.n_layers, 64, self.n_hidden)",
                "torch.zeros(self.n_layers, x.size(0), self.n_hidden), torch.zeros(self.n_layers, x.size(0), self.n_hidden)",
            )
        ],
        "say": "lstm wants hidden states [2, 20, 32] but they are made for a batch of 64: use x.size(0), or leave them out",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.n_layers, self.n_hidden = 2, 32
        self.lstm = nn.LSTM(4, self.n_hidden, self.n_layers, batch_first=True)
        self.fc = nn.Linear(self.n_hidden, 1)

    def forward(self, x):
        hidden = torch.zeros(self.n_layers, 64, self.n_hidden), torch.zeros(self.n_layers, 64, self.n_hidden)
        out, hidden = self.lstm(x, hidden)
        return self.fc(out[:, -1])
""",
    },
    {
        "id": "view_after_permute",
        "kind": "non_contiguous_view",
        "input": ((2, 3, 8, 8), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "contiguous",
        "got": "view",
        "fix": [("x.view(x.size(0), -1)", "x.reshape(x.size(0), -1)")],
        "say": "view cannot flatten the permuted x: x.reshape(x.size(0), -1), or x.contiguous().view(...)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4 * 8 * 8, 2)
    def forward(self, x):
        x = self.conv(x)
        x = x.permute(0, 2, 3, 1)
        x = x.view(x.size(0), -1)
        return self.fc(x)
""",
    },
    {
        "id": "merging_heads_with_view",
        "kind": "non_contiguous_view",
        "input": ((2, 10, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "blocks.0.attn",
        "expected": "contiguous",
        "got": "view",
        "fix": [
            ("y.transpose(1, 2).view(B, T, C)", "y.transpose(1, 2).contiguous().view(B, T, C)")
        ],
        "say": "in blocks.0.attn, view cannot merge the heads of the transposed y: y.transpose(1, 2).contiguous().view(B, T, C)",
        "code": """\
class SelfAttention(nn.Module):
    def __init__(self, d_model, n_head):
        super().__init__()
        self.n_head = n_head
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.qkv(x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        att = (q @ k.transpose(-2, -1)) / (C // self.n_head) ** 0.5
        y = att.softmax(dim=-1) @ v
        y = y.transpose(1, 2).view(B, T, C)
        return self.proj(y)

class Block(nn.Module):
    def __init__(self, d_model, n_head):
        super().__init__()
        self.ln = nn.LayerNorm(d_model)
        self.attn = SelfAttention(d_model, n_head)
    def forward(self, x):
        return x + self.attn(self.ln(x))

class Net(nn.Module):
    def __init__(self, n_layer=2, n_head=4, d_model=32):
        super().__init__()
        self.blocks = nn.ModuleList([Block(d_model, n_head) for _ in range(n_layer)])
    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x
""",
    },
    {
        "id": "view_after_transpose_rnn",
        "kind": "non_contiguous_view",
        "input": ((3, 12, 5), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "contiguous",
        "got": "view",
        "fix": [(".view(-1, 12 * 16)", ".reshape(-1, 12 * 16)")],
        "say": "view cannot flatten the transposed output of the GRU: reshape(-1, 192)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(5, 16, batch_first=True)
        self.fc = nn.Linear(12 * 16, 2)
    def forward(self, x):
        out, _ = self.gru(x)
        flat = out.transpose(1, 2).view(-1, 12 * 16)
        return self.fc(flat)
""",
    },
    {
        "id": "lstm_nested_call",
        "kind": "tuple_output",
        "input": ((4, 9, 10), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc",
        "expected": "Tensor",
        "got": "tuple",
        "fix": [("self.fc(self.lstm(x))", "self.fc(self.lstm(x)[0])")],
        "say": "fc (Linear) gets a tuple: lstm returns (output, (h, c)); self.lstm(x)[0]",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(10, 20, num_layers=2, batch_first=True)
        self.fc = nn.Linear(20, 1)
    def forward(self, x):
        return self.fc(self.lstm(x))
""",
    },
    {
        "id": "lstm_in_sequential",
        "kind": "tuple_output",
        "input": ((4, 9, 10), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "net.1",
        "expected": "Tensor",
        "got": "tuple",
        "fix": [
            (
                "nn.LSTM(10, 20, batch_first=True),",
                "nn.LSTM(10, 20, batch_first=True), TakeOutput(),",
            )
        ],
        "say": "net.1 (Dropout) gets a tuple: an LSTM in a Sequential returns (output, (h, c)); take [0] in a small module",
        "code": """\
class TakeOutput(nn.Module):
    def forward(self, result):
        return result[0]

class Net(nn.Module):
    def __init__(self, p=0.2):
        super().__init__()
        self.net = nn.Sequential(
            nn.LSTM(10, 20, batch_first=True),
            nn.Dropout(p),
            nn.Linear(20, 1),
        )
    def forward(self, x):
        return self.net(x)[:, -1]
""",
    },
    {
        "id": "gru_assigned",
        "kind": "tuple_output",
        "input": ((4, 25), "int64"),
        "below": 60,
        "mode": "eval",
        "where": "forward",
        "layer": "decoder",
        "expected": "Tensor",
        "got": "tuple",
        "fix": [("x = self.encoder(x)", "x, hidden = self.encoder(x)")],
        "say": "decoder (Linear) gets a tuple: encoder (GRU) returns (output, h); x, _ = self.encoder(x)",
        "code": """\
class Net(nn.Module):
    def __init__(self, ntoken=60, ninp=12, nhid=14):
        super(Net, self).__init__()
        self.drop = nn.Dropout(0.2)
        self.embedding = nn.Embedding(ntoken, ninp)
        self.encoder = nn.GRU(ninp, nhid, 1, batch_first=True)
        self.decoder = nn.Linear(nhid, ntoken)

    def forward(self, x):
        x = self.drop(self.embedding(x))
        x = self.encoder(x)
        return self.decoder(x)
""",
    },
    {
        "id": "attention_returns_tuple",
        "kind": "tuple_output",
        "input": ((2, 6, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "layers.0",
        "expected": "Tensor",
        "got": "tuple",
        "fix": [("x = x + self.attn(h, h, h)", "x = x + self.attn(h, h, h)[0]")],
        "say": "in layers.0, attn (MultiheadAttention) returns (output, weights) and a tuple cannot be added: self.attn(h, h, h)[0]",
        "code": """\
class Layer(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, heads, batch_first=True)
    def forward(self, x):
        h = self.norm(x)
        x = x + self.attn(h, h, h)
        return x

class Net(nn.Module):
    def __init__(self, d=16, heads=2, depth=2):
        super().__init__()
        self.layers = nn.Sequential(*(Layer(d, heads) for _ in range(depth)))
        self.cls = nn.Linear(d, 3)
    def forward(self, x):
        return self.cls(self.layers(x).mean(1))
""",
    },
    {
        "id": "max_returns_values_and_indices",
        "kind": "tuple_output",
        "input": ((4, 20, 6), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "classifier",
        "expected": "Tensor",
        "got": "torch.return_types.max",
        "fix": [("torch.max(x, dim=1)", "torch.max(x, dim=1).values")],
        "say": "classifier (Linear) gets (values, indices): torch.max with dim returns both; torch.max(x, dim=1).values",
        "code": '''\
class Net(nn.Module):
    """PointNet: max over the points."""
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 64))
        self.classifier = nn.Linear(64, 8)
    def forward(self, points):
        x = self.mlp(points)
        x = torch.max(x, dim=1)
        return self.classifier(x)
''',
    },
    {
        "id": "segmentation_model_returns_dict",
        "kind": "tuple_output",
        "input": ((1, 3, 64, 64), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "Tensor",
        "got": "OrderedDict",
        "loss": "F.cross_entropy(out, torch.zeros(1, 64, 64, dtype=torch.long))",
        "loss_name": "CrossEntropyLoss",
        "target": ((1, 64, 64), "int64", 2),
        "fix": [("return self.model(x)", "return self.model(x)['out']")],
        "fix_loss": "F.cross_entropy(out['out'], torch.zeros(1, 64, 64, dtype=torch.long))",
        "say": "the output is an OrderedDict with 'out', not a tensor: model(x)['out']",
        "code": """\
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2)
    def forward(self, x):
        return self.model(x)
""",
    },
    {
        "id": "lstm_input_size",
        "kind": "rnn_input_size",
        "input": ((4, 30, 9), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "lstm",
        "expected": "input_size=10",
        "got": "9",
        "fix": [("INPUT_SIZE = 10", "INPUT_SIZE = 9")],
        "say": "lstm wants 10 features a step but the input [4, 30, 9] has 9: INPUT_SIZE = 9",
        "code": """\
INPUT_SIZE = 10
HIDDEN_SIZE = 32
NUM_LAYERS = 2

class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.lstm = nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, NUM_LAYERS, batch_first=True)
        self.fc = nn.Linear(HIDDEN_SIZE, 1)

    def forward(self, x):
        out, (hn, cn) = self.lstm(x)
        return self.fc(out[:, -1, :])
""",
    },
    {
        "id": "gru_after_wider_embedding",
        "kind": "rnn_input_size",
        "input": ((4, 16), "int64"),
        "below": 80,
        "mode": "eval",
        "where": "forward",
        "layer": "encoder.gru",
        "expected": "input_size=32",
        "got": "48",
        "fix": [
            ("nn.GRU(hidden, hidden, batch_first=True)", "nn.GRU(emb, hidden, batch_first=True)")
        ],
        "say": "encoder.gru wants 32 features a step but the embedding gives 48: nn.GRU(48, 32)",
        "code": """\
class Encoder(nn.Module):
    def __init__(self, vocab, emb, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab, emb)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
    def forward(self, src):
        return self.gru(self.embedding(src))[1]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder(80, 48, 32)
        self.fc = nn.Linear(32, 2)
    def forward(self, src):
        return self.fc(self.encoder(src).squeeze(0))
""",
    },
    {
        "id": "one_feature_series_without_axis",
        "kind": "rnn_input_size",
        "input": ((8, 24), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "rnn",
        "expected": "input_size=1",
        "got": "24",
        "fix": [("self.rnn(series)", "self.rnn(series.unsqueeze(-1))")],
        "fix_input": "x.unsqueeze(-1)",
        "say": "rnn wants [N, L, 1] but gets [8, 24] (taken for one sequence with 24 features): series.unsqueeze(-1)",
        "code": '''\
class Net(nn.Module):
    """Forecasts the next value of a series."""
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(1, 16, batch_first=True)
        self.head = nn.Linear(16, 1)
    def forward(self, series):
        out, h = self.rnn(series)
        return self.head(h[-1])
''',
    },
    {
        "id": "stacked_lstm_cells",
        "kind": "rnn_input_size",
        "input": ((4, 7, 5), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "cells.1",
        "expected": "input_size=5",
        "got": "16",
        "fix": [
            (
                "nn.LSTMCell(n_in, n_hidden) for _ in range(2)",
                "nn.LSTMCell(n, n_hidden) for n in (n_in, n_hidden)",
            )
        ],
        "say": "cells.1 (LSTMCell) wants 5 features but cells.0 gives 16: nn.LSTMCell(16, 16)",
        "code": """\
class Net(nn.Module):
    def __init__(self, n_in=5, n_hidden=16):
        super().__init__()
        self.cells = nn.ModuleList([nn.LSTMCell(n_in, n_hidden) for _ in range(2)])
        self.fc = nn.Linear(n_hidden, 1)

    def forward(self, x):
        states = [None, None]
        for t in range(x.size(1)):
            inp = x[:, t]
            for i, cell in enumerate(self.cells):
                states[i] = cell(inp, states[i])
                inp = states[i][0]
        return self.fc(inp)
""",
    },
    {
        "id": "bidirectional_linear",
        "kind": "bidirectional_width",
        "input": ((4, 20), "int64"),
        "below": 100,
        "mode": "eval",
        "where": "forward",
        "layer": "fc",
        "expected": "in_features=64",
        "got": "128",
        "fix": [("nn.Linear(hidden_dim, output_dim)", "nn.Linear(hidden_dim * 2, output_dim)")],
        "say": "fc (Linear) expects 64 features but the bidirectional lstm gives 2 * 64 = 128: nn.Linear(hidden_dim * 2, output_dim)",
        "code": """\
class Net(nn.Module):
    def __init__(self, vocab_size=100, embedding_dim=32, hidden_dim=64, output_dim=2, bidirectional=True):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, bidirectional=bidirectional, batch_first=True)
        self.fc = nn.Linear(hidden_dim, output_dim)

    def forward(self, text):
        output, (hidden, cell) = self.lstm(self.embedding(text))
        return self.fc(output[:, -1])
""",
    },
    {
        "id": "bidirectional_stacked_by_hand",
        "kind": "bidirectional_width",
        "input": ((2, 40, 13), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "rnns.1",
        "expected": "input_size=24",
        "got": "48",
        "fix": [("nn.GRU(13 if i == 0 else 24,", "nn.GRU(13 if i == 0 else 24 * 2,")],
        "say": "rnns.1 (GRU) wants 24 features a step but the bidirectional rnns.0 gives 2 * 24 = 48",
        "code": '''\
class Net(nn.Module):
    """Speech frames to letters."""
    def __init__(self, n_letters=29):
        super().__init__()
        self.rnns = nn.ModuleList()
        for i in range(3):
            self.rnns.append(nn.GRU(13 if i == 0 else 24, 24, batch_first=True, bidirectional=True))
        self.fc = nn.Linear(48, n_letters)
    def forward(self, frames):
        x = frames
        for rnn in self.rnns:
            x, _ = rnn(x)
        return self.fc(x).log_softmax(-1)
''',
    },
    {
        "id": "batchnorm_channels",
        "kind": "norm_features",
        "input": ((4, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "encoder.block2.bn",
        "expected": "num_features=32",
        "got": "64",
        "fix": [("self.bn = nn.BatchNorm2d(32)", "self.bn = nn.BatchNorm2d(out_channels)")],
        "say": "encoder.block2.bn (BatchNorm2d) has 32 features but encoder.block2.conv gives 64: nn.BatchNorm2d(64)",
        "code": """\
from collections import OrderedDict

class ConvBNReLU(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(32)
        self.relu = nn.ReLU(inplace=True)
    def forward(self, x):
        return self.relu(self.bn(self.conv(x)))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(OrderedDict([
            ("block1", ConvBNReLU(3, 32)),
            ("block2", ConvBNReLU(32, 64)),
        ]))
        self.fc = nn.Linear(64, 10)
    def forward(self, x):
        return self.fc(self.encoder(x).mean((2, 3)))
""",
    },
    {
        "id": "batchnorm_of_the_layer_before",
        "kind": "norm_features",
        "input": ((16, 8), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "bns.1",
        "expected": "num_features=64",
        "got": "32",
        "fix": [("nn.BatchNorm1d(n) for n in sizes[:-1]", "nn.BatchNorm1d(n) for n in sizes[1:]")],
        "say": "bns.1 (BatchNorm1d) has 64 features but fcs.1 gives 32: take sizes[1:]",
        "code": """\
class Net(nn.Module):
    def __init__(self, sizes=(64, 64, 32)):
        super().__init__()
        self.inp = nn.Linear(8, sizes[0])
        self.fcs = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:])])
        self.bns = nn.ModuleList([nn.BatchNorm1d(n) for n in sizes[:-1]])
        self.out = nn.Linear(sizes[-1], 1)
    def forward(self, x):
        x = self.inp(x)
        for fc, bn in zip(self.fcs, self.bns):
            x = F.relu(bn(fc(x)))
        return self.out(x)
""",
    },
    {
        "id": "batchnorm1d_on_sequence",
        "kind": "norm_features",
        "input": ((4, 20, 10), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "norm",
        "expected": "num_features=48",
        "got": "20",
        "fix": [("x = self.norm(x)", "x = self.norm(x.transpose(1, 2)).transpose(1, 2)")],
        "say": "norm (BatchNorm1d) wants [N, 48, L] but gets [4, 20, 48] = [N, L, C]: transpose around it, or nn.LayerNorm(48)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(10, 48)
        self.norm = nn.BatchNorm1d(48)
        self.out = nn.Linear(48, 3)
    def forward(self, x):
        x = self.proj(x)
        x = self.norm(x)
        return self.out(F.relu(x).mean(1))
""",
    },
    {
        "id": "batchnorm1d_after_conv2d",
        "kind": "norm_rank",
        "input": ((4, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "features.1",
        "expected": "2D or 3D input",
        "got": "4D input",
        "fix": [("nn.BatchNorm1d(8)", "nn.BatchNorm2d(8)")],
        "say": "features.1 is a BatchNorm1d but gets a 4-D feature map [4, 8, 26, 26]: nn.BatchNorm2d(8)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Linear(8 * 13 * 13, 10)
    def forward(self, x):
        return self.fc(self.features(x).flatten(1))
""",
    },
    {
        "id": "batchnorm2d_after_linear",
        "kind": "norm_rank",
        "input": ((8, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "gen.1",
        "expected": "4D input",
        "got": "2D input",
        "fix": [("nn.Linear(i, o), nn.BatchNorm2d(o)", "nn.Linear(i, o), nn.BatchNorm1d(o)")],
        "say": "gen.1 is a BatchNorm2d but gets [8, 64] from a Linear: nn.BatchNorm1d(64)",
        "code": """\
def layer(i, o):
    return [nn.Linear(i, o), nn.BatchNorm2d(o), nn.LeakyReLU(0.2)]

class Net(nn.Module):
    def __init__(self, latent=32):
        super().__init__()
        self.gen = nn.Sequential(*layer(latent, 64), *layer(64, 128), nn.Linear(128, 784), nn.Tanh())
    def forward(self, z):
        return self.gen(z).view(-1, 1, 28, 28)
""",
    },
    {
        "id": "batchnorm3d_on_images",
        "kind": "norm_rank",
        "input": ((2, 3, 20, 20), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "down.norm",
        "expected": "5D input",
        "got": "4D input",
        "fix": [
            ("{2: nn.BatchNorm3d, 3: nn.BatchNorm3d}", "{2: nn.BatchNorm2d, 3: nn.BatchNorm3d}")
        ],
        "say": "down.norm is a BatchNorm3d but gets a 4-D feature map [2, 8, 18, 18]: nn.BatchNorm2d(8)",
        "code": """\
CONV = {2: nn.Conv2d, 3: nn.Conv3d}
NORM = {2: nn.BatchNorm3d, 3: nn.BatchNorm3d}

class Down(nn.Module):
    def __init__(self, i, o, dims):
        super().__init__()
        self.conv = CONV[dims](i, o, 3)
        self.norm = NORM[dims](o)
    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))

class Net(nn.Module):
    def __init__(self, dims=2):
        super().__init__()
        self.down = Down(3, 8, dims)
    def forward(self, x):
        return self.down(x)
""",
    },
    {
        "id": "layernorm_on_channels",
        "kind": "norm_shape",
        "input": ((2, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "stages.0.norm",
        "expected": "[*, 24]",
        "got": "[2, 24, 8, 8]",
        "fix": [
            (
                "x = self.norm(self.conv(x))",
                "x = self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)",
            ),
            ("class Stage(nn.Module):", "class Stage(nn.Module):  # ConvNeXt"),
        ],
        "say": "stages.0.norm (LayerNorm(24)) wants 24 as the last dimension but gets [2, 24, 8, 8]: permute to channels last around it, or GroupNorm(1, 24)",
        "code": """\
class Stage(nn.Module):
    def __init__(self, i, o, k):
        super().__init__()
        self.conv = nn.Conv2d(i, o, k, stride=k)
        self.norm = nn.LayerNorm(o)
    def forward(self, x):
        x = self.norm(self.conv(x))
        return F.gelu(x)

class Net(nn.Module):
    def __init__(self, dims=(24, 48), num_classes=10):
        super().__init__()
        self.stages = nn.Sequential(Stage(3, dims[0], 4), Stage(dims[0], dims[1], 2))
        self.head = nn.Linear(dims[-1], num_classes)
    def forward(self, x):
        return self.head(self.stages(x).mean((-2, -1)))
""",
    },
    {
        "id": "layernorm_fixed_length",
        "kind": "norm_shape",
        "input": ((3, 30, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "ln",
        "expected": "[*, 32, 16]",
        "got": "[3, 30, 16]",
        "fix": [("nn.LayerNorm([32, 16])", "nn.LayerNorm(16)")],
        "say": "ln was made for sequences of 32 but gets [3, 30, 16]: normalise the features only, nn.LayerNorm(16)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln = nn.LayerNorm([32, 16])
        self.fc = nn.Linear(16, 16)
    def forward(self, x):
        return x + self.fc(self.ln(x))
""",
    },
    {
        "id": "groupnorm_channels",
        "kind": "norm_shape",
        "input": ((2, 1, 24, 24), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "block.gn",
        "expected": "num_channels=32",
        "got": "[2, 24, 24, 24]",
        "fix": [("nn.GroupNorm(8, 32)", "nn.GroupNorm(8, c)")],
        "say": "block.gn (GroupNorm(8, 32)) wants 32 channels but block.conv gives 24: nn.GroupNorm(8, 24)",
        "code": """\
class GNBlock(nn.Module):
    def __init__(self, i, c):
        super().__init__()
        self.conv = nn.Conv2d(i, c, 3, padding=1)
        self.gn = nn.GroupNorm(8, 32)
    def forward(self, x):
        return F.silu(self.gn(self.conv(x)))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = GNBlock(1, 24)
    def forward(self, x):
        return self.block(x)
""",
    },
    {
        "id": "one_sample_in_train_mode",
        "kind": "batch_of_one",
        "input": ((1, 16), "float32"),
        "mode": "train",
        "where": "forward",
        "layer": "net.1",
        "expected": "more than 1 value per channel",
        "got": "[1, 32]",
        "fix": [("nn.BatchNorm1d(32)", "nn.LayerNorm(32)")],
        "fix_input": "x.repeat(2, 1)",
        "say": "net.1 (BatchNorm1d) cannot normalise a batch of one in training: DataLoader(drop_last=True), or net.eval() for inference",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))
    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "aspp_image_pooling_batch_of_one",
        "kind": "batch_of_one",
        "input": ((1, 3, 32, 32), "float32"),
        "mode": "train",
        "where": "forward",
        "layer": "aspp.image_pool.2",
        "expected": "more than 1 value per channel",
        "got": "[1, 8, 1, 1]",
        "fix": [("nn.BatchNorm2d(8), nn.ReLU())", "nn.GroupNorm(1, 8), nn.ReLU())")],
        "fix_input": "torch.cat([x, x])",
        "say": "aspp.image_pool.2 (BatchNorm2d) gets one value a channel, [1, 8, 1, 1], in training: a batch of 2 or more",
        "code": """\
class ASPP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.branches = nn.ModuleList([nn.Conv2d(c, 8, 3, padding=d, dilation=d) for d in (1, 2, 4)])
        self.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.project = nn.Conv2d(32, 16, 1)
    def forward(self, x):
        size = x.shape[-2:]
        y = [b(x) for b in self.branches]
        y.append(F.interpolate(self.image_pool(x), size=size))
        return self.project(torch.cat(y, 1))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.aspp = ASPP(16)
    def forward(self, x):
        return self.aspp(self.stem(x))
""",
    },
    {
        "id": "kernel_larger_than_feature_map",
        "kind": "kernel_larger_than_input",
        "input": ((2, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "conv4",
        "expected": "3x3",
        "got": "1x1",
        "fix": [("nn.Conv2d(32, 64, 3)", "nn.Conv2d(32, 64, 3, padding=1)")],
        "say": "conv4 has a 3x3 kernel but its input is only 1x1: one pooling fewer, or padding=1",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.conv4 = nn.Conv2d(32, 64, 3)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.max_pool2d(F.relu(self.conv3(x)), 2)
        x = F.relu(self.conv4(x))
        return self.fc(x.flatten(1))
""",
    },
    {
        "id": "text_shorter_than_kernel",
        "kind": "kernel_larger_than_input",
        "input": ((4, 4), "int64"),
        "below": 100,
        "mode": "eval",
        "where": "forward",
        "layer": "convs.2",
        "expected": "5",
        "got": "4",
        "fix": [("(3, 4, 5)", "(2, 3, 4)")],
        "fix_input": "F.pad(x, (0, 4))",
        "say": "convs.2 has kernel 5 but the text has 4 tokens: pad the texts to at least 5",
        "code": """\
class Net(nn.Module):
    def __init__(self, sizes=(3, 4, 5)):
        super().__init__()
        self.emb = nn.Embedding(100, 16)
        self.convs = nn.ModuleList([nn.Conv1d(16, 8, k) for k in sizes])
        self.fc = nn.Linear(8 * len(sizes), 2)
    def forward(self, x):
        e = self.emb(x).transpose(1, 2)
        return self.fc(torch.cat([F.relu(c(e)).amax(2) for c in self.convs], 1))
""",
    },
    {
        "id": "imagenet_avgpool_on_cifar",
        "kind": "kernel_larger_than_input",
        "input": ((2, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "7",
        "got": "[2, 64, 4, 4]",
        "fix": [("F.avg_pool2d(x, 7)", "F.adaptive_avg_pool2d(x, 1)")],
        "say": "avg_pool2d(x, 7) was for ImageNet: here x is [2, 64, 4, 4]; F.adaptive_avg_pool2d(x, 1)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))))
        x = F.avg_pool2d(x, 7)
        x = x.view(x.size(0), -1)
        return self.linear(x)
""",
    },
    {
        "id": "pooled_to_nothing_small_image",
        "kind": "pooled_to_nothing",
        "input": ((4, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "features.14",
        "expected": "kernel_size=2",
        "got": "[4, 64, 1, 1]",
        "fix": [("CHANNELS = [3, 8, 16, 32, 48, 64]", "CHANNELS = [3, 8, 16, 32, 64]")],
        "fix_input": "F.interpolate(x, size=(32, 32))",
        "say": "features.14 (MaxPool2d) halves a 1x1 map to nothing: 16x16 images allow 4 poolings, not 5",
        "code": """\
CHANNELS = [3, 8, 16, 32, 48, 64]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        for i, o in zip(CHANNELS, CHANNELS[1:]):
            layers.extend([nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)])
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(64, 10)
    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))
""",
    },
    {
        "id": "pool_used_three_times",
        "kind": "pooled_to_nothing",
        "input": ((2, 1, 20, 20), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "pool",
        "expected": "kernel_size=2",
        "got": "[2, 16, 1, 1]",
        "fix": [("x = self.pool(self.conv3(x))", "x = self.conv3(x)")],
        "say": "pool (its 3rd call) halves a 1x1 map to nothing",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.conv1 = nn.Conv2d(1, 4, 5)
        self.conv2 = nn.Conv2d(4, 8, 5)
        self.conv3 = nn.Conv2d(8, 16, 2)
    def forward(self, x):
        x = self.pool(self.conv1(x))
        x = self.pool(self.conv2(x))
        x = self.pool(self.conv3(x))
        return x.flatten(1)
""",
    },
    {
        "id": "wave_pooled_to_nothing",
        "kind": "pooled_to_nothing",
        "input": ((2, 1, 60), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "net.8",
        "expected": "kernel_size=4",
        "got": "[2, 16, 3]",
        "fix": [("nn.MaxPool1d(4)) for i, o", "nn.MaxPool1d(2)) for i, o")],
        "fix_input": "x.repeat(1, 1, 6)",
        "say": "net.8 (MaxPool1d(4)) has only 3 samples left of 60: longer clips, or smaller poolings",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        trios = ((nn.Conv1d(i, o, 3, padding=1), nn.ReLU(), nn.MaxPool1d(4)) for i, o in ((1, 4), (4, 8), (8, 16)))
        self.net = nn.Sequential(*(m for trio in trios for m in trio))
    def forward(self, x):
        return self.net(x).amax(-1)
""",
    },
    {
        "id": "resnet_stage_without_downsample",
        "kind": "elementwise_add",
        "input": ((2, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "layer2.0",
        "expected": "[2, 32, 16, 16]",
        "got": "[2, 16, 32, 32]",
        "fix": [
            ("if stride != 1 and in_planes == planes:", "if stride != 1 or in_planes != planes:")
        ],
        "say": "in layer2.0 (BasicBlock) the add joins [2, 32, 16, 16] with the shortcut [2, 16, 32, 32]: project it with nn.Conv2d(16, 32, 1, stride=2)",
        "code": """\
class BasicBlock(nn.Module):
    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 and in_planes == planes:
            self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)

class Net(nn.Module):
    def __init__(self, num_blocks=(2, 2), num_classes=10):
        super().__init__()
        self.in_planes = 16
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.layer1 = self._make_layer(16, num_blocks[0], stride=1)
        self.layer2 = self._make_layer(32, num_blocks[1], stride=2)
        self.linear = nn.Linear(32, num_classes)

    def _make_layer(self, planes, num_blocks, stride):
        strides = [stride] + [1] * (num_blocks - 1)
        layers = []
        for s in strides:
            layers.append(BasicBlock(self.in_planes, planes, s))
            self.in_planes = planes
        return nn.Sequential(*layers)

    def forward(self, x):
        out = self.layer2(self.layer1(F.relu(self.conv1(x))))
        return self.linear(out.mean((2, 3)))
""",
    },
    {
        "id": "residual_conv_without_padding",
        "kind": "elementwise_add",
        "input": ((2, 3, 24, 24), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "res",
        "expected": "[2, 8, 20, 20]",
        "got": "[2, 8, 24, 24]",
        "fix": [
            ("self.conv_a = nn.Conv2d(c, c, 3)", "self.conv_a = nn.Conv2d(c, c, 3, padding=1)"),
            ("self.conv_b = nn.Conv2d(c, c, 3)", "self.conv_b = nn.Conv2d(c, c, 3, padding=1)"),
        ],
        "say": "in res the add joins [2, 8, 20, 20] with the shortcut [2, 8, 24, 24]: the two 3x3 convolutions need padding=1",
        "code": """\
class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv_a = nn.Conv2d(c, c, 3)
        self.conv_b = nn.Conv2d(c, c, 3)
    def forward(self, x):
        y = self.conv_b(F.relu(self.conv_a(x)))
        return F.relu(y + x)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.res = Residual(8)
    def forward(self, x):
        return self.res(self.stem(x))
""",
    },
    {
        "id": "bottleneck_expansion",
        "kind": "elementwise_add",
        "input": ((1, 64, 14, 14), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "stage.0",
        "expected": "[1, 128, 14, 14]",
        "got": "[1, 64, 14, 14]",
        "fix": [("stride > 1", "stride > 1 or c_in != c * self.expansion")],
        "say": "in stage.0 the add joins [1, 128, 14, 14] with the shortcut [1, 64, 14, 14]: the channels grow by the expansion, project with nn.Conv2d(64, 128, 1)",
        "code": """\
class Bottleneck(nn.Module):
    expansion = 4
    def __init__(self, c_in, c, stride=1):
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(c_in, c, 1), nn.ReLU(),
            nn.Conv2d(c, c, 3, stride, 1), nn.ReLU(),
            nn.Conv2d(c, c * self.expansion, 1),
        )
        self.down = nn.Conv2d(c_in, c * self.expansion, 1, stride) if stride > 1 else None
    def forward(self, x):
        identity = x if self.down is None else self.down(x)
        return F.relu(self.path(x) + identity)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage = nn.Sequential(Bottleneck(64, 32), Bottleneck(128, 32))
    def forward(self, x):
        return self.stage(x)
""",
    },
    {
        "id": "fpn_lateral_sum_odd_size",
        "kind": "elementwise_add",
        "input": ((1, 3, 100, 100), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "neck",
        "expected": "[1, 16, 13, 13]",
        "got": "[1, 16, 14, 14]",
        "fix": [("F.interpolate(p, scale_factor=2)", "F.interpolate(p, size=f.shape[-2:])")],
        "fix_input": "F.interpolate(x, size=(128, 128))",
        "say": "in neck the add joins [1, 16, 13, 13] with the upsampled [1, 16, 14, 14]: interpolate to the size of the lateral map",
        "code": """\
class FPN(nn.Module):
    def __init__(self, channels, width=16):
        super().__init__()
        self.laterals = nn.ModuleList([nn.Conv2d(c, width, 1) for c in channels])
    def forward(self, feats):
        feats = [l(f) for l, f in zip(self.laterals, feats)]
        p = feats.pop()
        out = [p]
        while feats:
            f = feats.pop()
            p = f + F.interpolate(p, scale_factor=2)
            out.append(p)
        return out

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c2 = nn.Conv2d(3, 8, 7, 4, 3)
        self.c3 = nn.Conv2d(8, 16, 3, 2, 1)
        self.c4 = nn.Conv2d(16, 32, 3, 2, 1)
        self.neck = FPN((8, 16, 32))
    def forward(self, x):
        c2 = self.c2(x)
        c3 = self.c3(c2)
        c4 = self.c4(c3)
        return self.neck([c2, c3, c4])
""",
    },
    {
        "id": "token_plus_position_dims",
        "kind": "elementwise_add",
        "input": ((2, 10), "int64"),
        "below": 40,
        "mode": "eval",
        "where": "forward",
        "layer": "embedding",
        "expected": "[2, 10, 32]",
        "got": "[10, 16]",
        "fix": [("nn.Embedding(max_len, 16)", "nn.Embedding(max_len, dim)")],
        "say": "in embedding the add joins token [2, 10, 32] with position [10, 16]: both need the same dimension",
        "code": """\
class TokenAndPosition(nn.Module):
    def __init__(self, vocab, max_len, dim):
        super().__init__()
        self.token = nn.Embedding(vocab, dim)
        self.position = nn.Embedding(max_len, 16)
    def forward(self, x):
        positions = torch.arange(x.size(1), device=x.device)
        return self.token(x) + self.position(positions)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = TokenAndPosition(40, 64, 32)
        self.fc = nn.Linear(32, 2)
    def forward(self, x):
        return self.fc(self.embedding(x).mean(1))
""",
    },
    {
        "id": "unet_odd_input",
        "kind": "concat_size",
        "input": ((1, 1, 100, 100), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "up1",
        "expected": "[1, 16, 24, 24]",
        "got": "[1, 16, 25, 25]",
        "fix": [("x = self.up(x)", "x = F.interpolate(self.up(x), size=skip.shape[-2:])")],
        "fix_input": "F.pad(x, (0, 12, 0, 12))",
        "say": "in up1 the cat joins the skip [1, 16, 25, 25] with the upsampled [1, 16, 24, 24]: 100 is not divisible by 8; pad the image to 112, or pad inside Up",
        "code": """\
def double_conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(True), nn.Conv2d(o, o, 3, padding=1), nn.ReLU(True))

class Up(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.up = nn.ConvTranspose2d(i, o, 2, 2)
        self.conv = double_conv(o * 2, o)
    def forward(self, x, skip):
        x = self.up(x)
        return self.conv(torch.cat([skip, x], dim=1))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.inc = double_conv(1, 4)
        self.down1, self.down2, self.down3 = double_conv(4, 8), double_conv(8, 16), double_conv(16, 32)
        self.up1, self.up2, self.up3 = Up(32, 16), Up(16, 8), Up(8, 4)
        self.outc = nn.Conv2d(4, 1, 1)
    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(self.pool(x1))
        x3 = self.down2(self.pool(x2))
        x4 = self.down3(self.pool(x3))
        x = self.up3(self.up2(self.up1(x4, x3), x2), x1)
        return self.outc(x)
""",
    },
    {
        "id": "decoder_without_output_padding",
        "kind": "concat_size",
        "input": ((2, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "[2, 8, 16, 16]",
        "got": "[2, 8, 15, 15]",
        "fix": [
            (
                "nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1)",
                "nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1)",
            )
        ],
        "say": "in Net.forward the cat joins the skip [2, 8, 16, 16] with [2, 8, 15, 15]: ConvTranspose2d(3, stride=2, padding=1) gives 2n-1; output_padding=1",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.down2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1)
        self.up1 = nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)
    def forward(self, x):
        d1 = F.relu(self.down1(x))
        d2 = F.relu(self.down2(d1))
        u2 = F.relu(self.up2(d2))
        return self.up1(torch.cat((d1, u2), 1))
""",
    },
    {
        "id": "mha_embed_dim",
        "kind": "attention_embed_dim",
        "input": ((2, 12, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "attn",
        "expected": "embed_dim=64",
        "got": "32",
        "fix": [
            (
                "nn.MultiheadAttention(64, 4, batch_first=True)",
                "nn.MultiheadAttention(32, 4, batch_first=True)",
            )
        ],
        "say": "attn (MultiheadAttention) wants 64 features but gets [2, 12, 32]: embed_dim=32",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(64, 4, batch_first=True)
        self.norm = nn.LayerNorm(32)
    def forward(self, x):
        a, w = self.attn(x, x, x)
        return self.norm(x + a)
""",
    },
    {
        "id": "cross_attention_kdim",
        "kind": "attention_embed_dim",
        "input": ((2, 5, 32), "float32"),
        "inputs": [((2, 5, 32), "float32"), ((2, 9, 48), "float32")],
        "mode": "eval",
        "where": "forward",
        "layer": "decoder.cross",
        "expected": "32",
        "got": "[2, 9, 48]",
        "fix": [
            (
                "nn.MultiheadAttention(d, heads, batch_first=True)",
                "nn.MultiheadAttention(d, heads, kdim=48, vdim=48, batch_first=True)",
            )
        ],
        "say": "decoder.cross (MultiheadAttention) wants keys of 32 features but gets [2, 9, 48]: kdim=48, vdim=48",
        "code": """\
class DecoderLayer(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.cross = nn.MultiheadAttention(d, heads, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
    def forward(self, tgt, memory):
        tgt = tgt + self.cross(tgt, memory, memory, need_weights=False)[0]
        return tgt + self.ff(tgt)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.decoder = DecoderLayer(32, 4)
    def forward(self, tgt, memory):
        return self.decoder(tgt, memory)
""",
    },
    {
        "id": "transformer_d_model",
        "kind": "attention_embed_dim",
        "input": ((3, 8, 24), "float32"),
        "mode": "train",
        "where": "forward",
        "layer": "transformer.layers.0.self_attn",
        "expected": "embed_dim=32",
        "got": "24",
        "fix": [("self.transformer(x)", "self.transformer(self.project(x))")],
        "say": "transformer (d_model 32) gets [3, 8, 24]: project the features to 32 first, as self.project does",
        "code": """\
class Net(nn.Module):
    def __init__(self, n_features=24, d_model=32):
        super().__init__()
        self.project = nn.Linear(n_features, d_model)
        layer = nn.TransformerEncoderLayer(d_model=d_model, nhead=4, dim_feedforward=48, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, num_layers=2)
        self.out = nn.Linear(d_model, 1)
    def forward(self, x):
        return self.out(self.transformer(x)[:, 0])
""",
    },
    {
        "id": "heads_do_not_divide",
        "kind": "constructor_divisibility",
        "input": ((2, 6, 100), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "divisible by 8",
        "got": "100",
        "fix": [("n_heads=8", "n_heads=10")],
        "say": "MultiheadAttention(100, 8): the heads must divide embed_dim; 10 heads, or 96 or 104 features",
        "code": """\
class Block(nn.Module):
    def __init__(self, dim, n_heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, n_heads, batch_first=True)
        self.ln = nn.LayerNorm(dim)
    def forward(self, x):
        return self.ln(x + self.attn(x, x, x)[0])

class Net(nn.Module):
    def __init__(self, dim=100, n_heads=8):
        super().__init__()
        self.block = Block(dim, n_heads)
    def forward(self, x):
        return self.block(x)
""",
    },
    {
        "id": "groups_do_not_divide",
        "kind": "constructor_divisibility",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "divisible by groups",
        "got": "20",
        "fix": [("groups=8", "groups=4")],
        "say": "Conv2d(20, 40, groups=8): the groups must divide the 20 input channels; groups=4",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 20, 3)
        self.grouped = nn.Conv2d(20, 40, 3, groups=8)
    def forward(self, x):
        return self.grouped(self.stem(x))
""",
    },
    {
        "id": "groupnorm_does_not_divide",
        "kind": "constructor_divisibility",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "divisible by 32",
        "got": "48",
        "fix": [("GROUPS = 32", "GROUPS = 16")],
        "say": "GroupNorm(32, 48): the groups must divide the 48 channels; GroupNorm(16, 48)",
        "code": """\
GROUPS = 32

def conv_gn(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.GroupNorm(GROUPS, o), nn.SiLU())

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv_gn(3, 32), conv_gn(32, 48))
    def forward(self, x):
        return self.body(x)
""",
    },
    {
        "id": "vit_on_cifar",
        "kind": "image_size",
        "input": ((1, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "vit",
        "expected": "224",
        "got": "32",
        "fix": [
            (
                "vit_b_16(weights=None, num_classes=10)",
                "vit_b_16(weights=None, num_classes=10, image_size=32)",
            )
        ],
        "say": "vit wants images of 224x224 but gets 32x32: resize them, or image_size=32",
        "code": """\
from torchvision.models import vit_b_16

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.vit = vit_b_16(weights=None, num_classes=10)
    def forward(self, x):
        return self.vit(x)
""",
    },
    {
        "id": "small_vit_pos_embed",
        "kind": "image_size",
        "input": ((2, 3, 64, 64), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "[1, 65, 48]",
        "got": "[2, 257, 48]",
        "fix": [("def __init__(self, img_size=32,", "def __init__(self, img_size=64,")],
        "fix_input": "F.interpolate(x, (32, 32))",
        "say": "pos_embed is [1, 65, 48] (8x8 patches of a 32x32 image) but there are 257 tokens (16x16 patches): img_size=64",
        "code": '''\
class Net(nn.Module):
    """A small ViT."""
    def __init__(self, img_size=32, patch=4, dim=48, depth=1, heads=4, classes=10):
        super().__init__()
        n = (img_size // patch) ** 2
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, n + 1, dim) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, 2 * dim, batch_first=True, norm_first=True) for _ in range(depth)
        )
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        cls = self.cls_token.expand(x.size(0), -1, -1)
        x = torch.cat([cls, x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])
''',
    },
    {
        "id": "mixer_token_count",
        "kind": "image_size",
        "input": ((2, 3, 48, 48), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "blocks.0.token_mix.0",
        "expected": "in_features=16",
        "got": "36",
        "fix": [("image_size=32", "image_size=48")],
        "fix_input": "x[..., :32, :32]",
        "say": "blocks.0.token_mix.0 (Linear) mixes 16 patches (32x32 images) but there are 36 (48x48): image_size=48",
        "code": """\
class MixerBlock(nn.Module):
    def __init__(self, tokens, dim):
        super().__init__()
        self.token_mix = nn.Sequential(nn.Linear(tokens, 24), nn.GELU(), nn.Linear(24, tokens))
        self.channel_mix = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
    def forward(self, x):
        x = x + self.token_mix(x.transpose(1, 2)).transpose(1, 2)
        return x + self.channel_mix(x)

class Net(nn.Module):
    def __init__(self, image_size=32, patch=8, dim=20, depth=2):
        super().__init__()
        self.patches = nn.Conv2d(3, dim, patch, patch)
        self.blocks = nn.Sequential(*[MixerBlock((image_size // patch) ** 2, dim) for _ in range(depth)])
        self.head = nn.Linear(dim, 10)
    def forward(self, x):
        x = self.patches(x).flatten(2).mT
        return self.head(self.blocks(x).mean(1))
""",
    },
    {
        "id": "patches_by_reshape",
        "kind": "image_size",
        "input": ((2, 1, 30, 30), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "patchify",
        "expected": "divisible by 4",
        "got": "[2, 1, 30, 30]",
        "fix": [("Patchify(4, 16)", "Patchify(5, 25)"), ("nn.Linear(16, 32)", "nn.Linear(25, 32)")],
        "fix_input": "F.pad(x, (1, 1, 1, 1))",
        "say": "patchify cannot cut 30x30 images into 4x4 patches: pad to 32x32, or patches of 5",
        "code": """\
class Patchify(nn.Module):
    def __init__(self, p, dim):
        super().__init__()
        self.p, self.dim = p, dim
    def forward(self, x):
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // self.p, self.p, w // self.p, self.p)
        return x.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, self.dim)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.patchify = Patchify(4, 16)
        self.embed = nn.Linear(16, 32)
    def forward(self, x):
        return self.embed(self.patchify(x)).mean(1)
""",
    },
    {
        "id": "head_left_on_another_device",
        "kind": "mixed_devices",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "head",
        "expected": "cpu",
        "got": "meta",
        "fix": [('nn.Linear(16, 2, device="meta")', "nn.Linear(16, 2)")],
        "say": "head's weight is on meta but its input is on cpu: move the whole network, net.to(device)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.head = nn.Linear(16, 2, device="meta")
    def forward(self, x):
        return self.head(self.body(x))
""",
    },
    {
        "id": "scale_parameter_on_another_device",
        "kind": "mixed_devices",
        "input": ((4, 6, 10, 10), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "layer_scale",
        "expected": "cpu",
        "got": "meta",
        "fix": [('.to("meta")', '.to("cpu")')],
        "say": "layer_scale.gamma is on meta but x is on cpu: keep one device",
        "code": """\
class LayerScale(nn.Module):
    def __init__(self, dim, init=1e-4):
        super().__init__()
        self.gamma = nn.Parameter((init * torch.ones(dim, 1, 1)).to("meta"))
    def forward(self, x):
        return x * self.gamma

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.layer_scale = LayerScale(6)
    def forward(self, x):
        return x + self.layer_scale(self.conv(x))
""",
    },
    {
        "id": "pipeline_over_two_devices",
        "kind": "mixed_devices",
        "input": ((2, 12), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "blocks.1.fc",
        "expected": "cpu",
        "got": "meta",
        "fix": [('DEVICES = ["cpu", "meta"]', 'DEVICES = ["cpu", "cpu"]')],
        "say": "blocks.1.fc's weight is on meta but its input is on cpu: x.to(device) between the two, or one device",
        "code": '''\
DEVICES = ["cpu", "meta"]

class Block(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.fc = nn.Linear(i, o)
    def forward(self, x):
        return torch.relu(self.fc(x))

class Net(nn.Module):
    """Model parallel, over two devices."""
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(12, 8).to(DEVICES[0]), Block(8, 8).to(DEVICES[1])])
    def forward(self, x):
        for b in self.blocks:
            x = b(x)
        return x
''',
    },
    {
        "id": "tensor_made_on_another_device",
        "kind": "mixed_devices",
        "input": ((4, 10), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "cpu",
        "got": "meta",
        "fix": [("device=self.device)", "device=x.device)")],
        "say": "in Net.forward the noise is made on meta but x is on cpu: device=x.device, or torch.randn_like(x)",
        "code": """\
class Net(nn.Module):
    def __init__(self, device="meta"):
        super().__init__()
        self.device = device
        self.fc = nn.Linear(10, 2)
    def forward(self, x):
        noise = torch.randn(x.size(0), 10, device=self.device)
        x = torch.cat([x[:, :5], noise[:, 5:]], dim=1)
        return self.fc(x)
""",
    },
    {
        "id": "hidden_layers_in_list",
        "kind": "unregistered_modules",
        "input": ((4, 10), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "hidden",
        "expected": "nn.ModuleList",
        "got": "list",
        "fix": [("self.hidden = []", "self.hidden = nn.ModuleList()")],
        "say": "Net.hidden is a plain list with 2 layers: they are not in parameters(), will not train nor move to a GPU: nn.ModuleList",
        "code": """\
class Net(nn.Module):
    def __init__(self, in_size=10, hidden_sizes=(20, 20, 20), out_size=2):
        super().__init__()
        self.first = nn.Linear(in_size, hidden_sizes[0])
        self.hidden = []
        for k in range(len(hidden_sizes) - 1):
            self.hidden.append(nn.Linear(hidden_sizes[k], hidden_sizes[k + 1]))
        self.last = nn.Linear(hidden_sizes[-1], out_size)

    def forward(self, x):
        x = F.relu(self.first(x))
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.last(x)
""",
    },
    {
        "id": "heads_in_dict",
        "kind": "unregistered_modules",
        "input": ((4, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "heads",
        "expected": "nn.ModuleDict",
        "got": "dict",
        "fix": [
            (
                "self.heads = {name: nn.Linear(8, n) for name, n in tasks.items()}",
                "self.heads = nn.ModuleDict({name: nn.Linear(8, n) for name, n in tasks.items()})",
            )
        ],
        "say": "Net.heads is a plain dict with 2 layers: they are not in parameters(): nn.ModuleDict",
        "code": """\
class Net(nn.Module):
    def __init__(self, tasks={'age': 1, 'gender': 2}):
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3)
        self.heads = {name: nn.Linear(8, n) for name, n in tasks.items()}

    def forward(self, x):
        feats = self.backbone(x).relu().mean((2, 3))
        return {name: head(feats) for name, head in self.heads.items()}
""",
    },
    {
        "id": "blocks_in_list_of_a_nested_module",
        "kind": "unregistered_modules",
        "input": ((2, 5, 16), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "encoder.layers",
        "expected": "nn.ModuleList",
        "got": "list",
        "fix": [
            (
                "self.layers = [Layer(dim) for _ in range(depth)]",
                "self.layers = nn.ModuleList([Layer(dim) for _ in range(depth)])",
            )
        ],
        "say": "encoder.layers is a plain list with 3 modules: they are not in parameters(): nn.ModuleList",
        "code": """\
class Layer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.mlp = nn.Linear(dim, dim)
    def forward(self, x):
        return x + self.mlp(self.norm(x))

class Encoder(nn.Module):
    def __init__(self, dim, depth):
        super().__init__()
        self.layers = [Layer(dim) for _ in range(depth)]
    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

class Net(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.encoder = Encoder(dim, 3)
        self.head = nn.Linear(dim, 2)
    def forward(self, x):
        return self.head(self.encoder(x).mean(1))
""",
    },
    {
        "id": "branches_in_tuple",
        "kind": "unregistered_modules",
        "input": ((2, 4, 20), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "branches",
        "expected": "nn.ModuleList",
        "got": "tuple",
        "fix": [("self.branches = tuple(branches)", "self.branches = nn.ModuleList(branches)")],
        "say": "Net.branches is a tuple with 2 modules: they are not in parameters(): nn.ModuleList",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        branches = (nn.Conv1d(4, 8, k, padding=k // 2) for k in (3, 5))
        self.branches = tuple(branches)
        self.mix = nn.Conv1d(16, 4, 1)
    def forward(self, x):
        return self.mix(torch.cat([b(x) for b in self.branches], dim=1))
""",
    },
    {
        "id": "parameters_in_list",
        "kind": "unregistered_parameters",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "where": "silent",
        "layer": "weights",
        "expected": "nn.ParameterList",
        "got": "list",
        "fix": [
            (
                "self.weights = [nn.Parameter(torch.randn(6, 6) * 0.1) for _ in range(3)]",
                "self.weights = nn.ParameterList([nn.Parameter(torch.randn(6, 6) * 0.1) for _ in range(3)])",
            )
        ],
        "say": "Net.weights is a plain list with 3 parameters: they are not in parameters(): nn.ParameterList",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = [nn.Parameter(torch.randn(6, 6) * 0.1) for _ in range(3)]
        self.out = nn.Linear(6, 1)
    def forward(self, x):
        for w in self.weights:
            x = torch.tanh(x @ w)
        return self.out(x)
""",
    },
    {
        "id": "foward",
        "kind": "forward_misspelt",
        "input": ((4, 4), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "forward",
        "got": "foward",
        "fix": [("def foward(self, x):", "def forward(self, x):")],
        "say": "Net has no forward; is foward meant? def forward(self, x)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 8)
        self.fc2 = nn.Linear(8, 3)

    def foward(self, x):
        x = F.relu(self.fc1(x))
        return self.fc2(x)
""",
    },
    {
        "id": "capital_forward",
        "kind": "forward_misspelt",
        "input": ((4, 1, 8, 8), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "forward",
        "got": "Forward",
        "fix": [("def Forward", "def forward")],
        "say": "Net has no forward; is Forward meant? Python tells capitals apart",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.Conv = nn.Conv2d(1, 2, 3)
        self.Linear = nn.Linear(2 * 6 * 6, 10)

    def Forward(self, input):
        output = self.Conv(input)
        return self.Linear(output.view(output.shape[0], -1))
""",
    },
    {
        "id": "forwad_in_a_block",
        "kind": "forward_misspelt",
        "input": ((2, 3, 12, 12), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "block1",
        "expected": "forward",
        "got": "forwad",
        "fix": [("def forwad(self, x):", "def forward(self, x):")],
        "say": "ConvBlock (block1) has no forward; is forwad meant?",
        "code": """\
class ConvBlock(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3)
        self.bn = nn.BatchNorm2d(out_channels)

    def forwad(self, x):
        return F.relu(self.bn(self.conv(x)))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1 = ConvBlock(3, 6)
        self.block2 = ConvBlock(6, 12)

    def forward(self, x):
        return self.block2(self.block1(x))
""",
    },
    {
        "id": "forward_indented_into_init",
        "kind": "forward_misspelt",
        "input": ((4, 4), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "forward",
        "got": "__init__",
        "fix": [
            (
                "\n        def forward(self, x):\n            return",
                "\n    def forward(self, x):\n        return",
            )
        ],
        "say": "Net has no forward: it is indented into __init__; move it one level out",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

        def forward(self, x):
            return torch.sigmoid(self.fc(x))
""",
    },
    {
        "id": "modulelist_called_like_sequential",
        "kind": "forward_misspelt",
        "input": ((2, 6), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "layers",
        "expected": "nn.Sequential",
        "got": "ModuleList",
        "fix": [("nn.ModuleList([nn.Linear(6, 6),", "nn.Sequential(*[nn.Linear(6, 6),")],
        "say": "layers is a ModuleList, which has no forward: loop over it, or nn.Sequential",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1)])
    def forward(self, x):
        return self.layers(x)
""",
    },
    {
        "id": "super_init_missing",
        "kind": "super_init",
        "input": ((4, 4), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "super().__init__()",
        "got": "Module.__init__() call",
        "fix": [
            (
                "def __init__(self, hidden=16):\n",
                "def __init__(self, hidden=16):\n        super().__init__()\n",
            )
        ],
        "say": "Net.__init__ does not call super().__init__() before it assigns layers: make it the first line",
        "code": """\
class Net(nn.Module):
    def __init__(self, hidden=16):
        self.fc1 = nn.Linear(4, hidden)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))
""",
    },
    {
        "id": "super_init_after_the_layers",
        "kind": "super_init",
        "input": ((2, 3, 10, 10), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "super().__init__()",
        "got": "Module.__init__() call",
        "fix": [
            (
                "\n        self.conv = nn.Conv2d(3, 4, 3)\n        super().__init__()",
                "\n        super().__init__()\n        self.conv = nn.Conv2d(3, 4, 3)",
            )
        ],
        "say": "Net.__init__ assigns conv before super().__init__(): make that call the first line",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        self.conv = nn.Conv2d(3, 4, 3)
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))
""",
    },
    {
        "id": "super_init_without_parentheses",
        "kind": "super_init",
        "input": ((4, 9), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "super().__init__()",
        "got": "Module.__init__() call",
        "fix": [("super(Net, self).__init__\n", "super(Net, self).__init__()\n")],
        "say": "super(Net, self).__init__ is not called, the parentheses are missing",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__
        self.layer = nn.Linear(9, 3)
    def forward(self, x):
        return self.layer(x)
""",
    },
    {
        "id": "super_init_missing_in_a_block",
        "kind": "super_init",
        "input": ((2, 8), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "super().__init__()",
        "got": "Module.__init__() call",
        "fix": [
            (
                "def __init__(self, d, p=0.1):\n",
                "def __init__(self, d, p=0.1):\n        super().__init__()\n",
            )
        ],
        "say": "FeedForward.__init__ does not call super().__init__() before it assigns layers",
        "code": """\
class FeedForward(nn.Module):
    def __init__(self, d, p=0.1):
        self.net = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Dropout(p), nn.Linear(4 * d, d))
    def forward(self, x):
        return self.net(x)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.ff = FeedForward(8)
    def forward(self, x):
        return x + self.ff(x)
""",
    },
    {
        "id": "init_misspelt",
        "kind": "super_init",
        "input": ((4, 5), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "__init__",
        "got": "_init_",
        "fix": [
            ("def _init_(self):", "def __init__(self):"),
            ("super()._init_()", "super().__init__()"),
        ],
        "say": "Net has no attribute fc: its constructor is spelt _init_ (two underscores a side), so it never ran",
        "code": """\
class Net(nn.Module):
    def _init_(self):
        super()._init_()
        self.fc = nn.Linear(5, 2)
    def forward(self, x):
        return self.fc(x)
""",
    },
    {
        "id": "relu_class_in_sequential",
        "kind": "not_instantiated",
        "input": ((4, 10), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "nn.ReLU()",
        "got": "ReLU",
        "fix": [("nn.ReLU,", "nn.ReLU(),")],
        "say": "Sequential got the class ReLU, not a layer: nn.ReLU()",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(10, 20),
            nn.ReLU,
            nn.Linear(20, 2),
        )
    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "activation_attribute_is_a_class",
        "kind": "not_instantiated",
        "input": ((4, 10), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fc2",
        "expected": "Tensor",
        "got": "ReLU",
        "fix": [("self.act = nn.ReLU\n", "self.act = nn.ReLU()\n")],
        "say": "fc2 gets a ReLU module instead of a tensor: self.act is the class, self.act(x) makes a layer; self.act = nn.ReLU()",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(10, 20)
        self.act = nn.ReLU
        self.fc2 = nn.Linear(20, 2)
    def forward(self, x):
        x = self.act(self.fc1(x))
        return self.fc2(x)
""",
    },
    {
        "id": "activation_argument_is_a_class",
        "kind": "not_instantiated",
        "input": ((3, 2, 9, 9), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "convs.1.conv",
        "expected": "Tensor",
        "got": "GELU",
        "fix": [("act=nn.GELU):", "act=nn.GELU()):")],
        "say": "convs.1.conv gets a GELU module instead of a tensor: act is the class nn.GELU; act=nn.GELU()",
        "code": """\
class ConvAct(nn.Module):
    def __init__(self, i, o, act=nn.GELU):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3)
        self.act = act
    def forward(self, x):
        return self.act(self.conv(x))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(ConvAct(2, 4), ConvAct(4, 4))
    def forward(self, x):
        return self.convs(x)
""",
    },
    {
        "id": "net_forward_returns_none",
        "kind": "forward_returns_none",
        "input": ((6, 5), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "Tensor",
        "got": "None",
        "loss": "F.cross_entropy(out, torch.zeros(6, dtype=torch.long))",
        "loss_name": "CrossEntropyLoss",
        "target": ((6,), "int64", 3),
        "fix": [("\n        x = self.fc2(x)\n", "\n        x = self.fc2(x)\n        return x\n")],
        "say": "the output is None: Net.forward has no return",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(5, 5)
        self.fc2 = nn.Linear(5, 3)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
""",
    },
    {
        "id": "block_forward_returns_none",
        "kind": "forward_returns_none",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "block2.0",
        "expected": "Tensor",
        "got": "None",
        "fix": [
            (
                "x = F.max_pool2d(F.relu(self[0](x)), 2)",
                "return F.max_pool2d(F.relu(self[0](x)), 2)",
            )
        ],
        "say": "block2.0 gets None: block1 (PoolBlock.forward) has no return",
        "code": """\
class PoolBlock(nn.Sequential):
    def __init__(self, i, o):
        super().__init__(nn.Conv2d(i, o, 3, padding=1))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self[0](x)), 2)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1 = PoolBlock(3, 8)
        self.block2 = PoolBlock(8, 16)

    def forward(self, x):
        return self.block2(self.block1(x)).flatten(1)
""",
    },
    {
        "id": "return_only_in_training",
        "kind": "forward_returns_none",
        "input": ((2, 7), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "head",
        "expected": "Tensor",
        "got": "None",
        "fix": [
            (
                "return x + torch.randn_like(x) * self.std",
                "x = x + torch.randn_like(x) * self.std\n        return x",
            )
        ],
        "say": "head gets None: noise (GaussianNoise.forward) returns nothing in eval mode",
        "code": """\
class GaussianNoise(nn.Module):
    def __init__(self, std=0.1):
        super().__init__()
        self.std = std
    def forward(self, x):
        if self.training:
            return x + torch.randn_like(x) * self.std

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.noise = GaussianNoise()
        self.head = nn.Linear(7, 2)
    def forward(self, x):
        return self.head(self.noise(x))
""",
    },
    {
        "id": "fc2_or_fc_2",
        "kind": "attribute_typo",
        "input": ((4, 12), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "fc2",
        "got": "fc_2",
        "fix": [("self.fc_2(x)", "self.fc2(x)")],
        "say": "Net has no attribute fc_2; fc2 is meant",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(12, 8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = self.fc_2(x)
        return x
""",
    },
    {
        "id": "norm_typo_in_a_block",
        "kind": "attribute_typo",
        "input": ((2, 6, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "layers.0",
        "expected": "norm1",
        "got": "norm",
        "fix": [("self.norm(x)", "self.norm1(x)")],
        "say": "EncoderLayer (layers.0) has no attribute norm; norm1 or norm2 is meant",
        "code": """\
class EncoderLayer(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.attn = nn.MultiheadAttention(d, h, batch_first=True)
        self.ff = nn.Linear(d, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
    def forward(self, x):
        y = self.norm(x)
        x = x + self.attn(y, y, y)[0]
        return x + self.ff(self.norm2(x))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([EncoderLayer(16, 2), EncoderLayer(16, 2)])
    def forward(self, x):
        for l in self.layers:
            x = l(x)
        return x
""",
    },
    {
        "id": "self_forgotten_in_init",
        "kind": "attribute_typo",
        "input": ((4, 3, 8, 8), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "self.pool",
        "got": "pool",
        "fix": [
            (
                "\n        pool = nn.AdaptiveAvgPool2d(1)",
                "\n        self.pool = nn.AdaptiveAvgPool2d(1)",
            )
        ],
        "say": "Net has no attribute pool: __init__ assigns pool, not self.pool",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 2)
    def forward(self, x):
        x = self.pool(self.conv(x))
        return self.fc(x.flatten(1))
""",
    },
    {
        "id": "forward_without_self",
        "kind": "forward_signature",
        "input": ((4, 3), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "self",
        "got": "def forward(x)",
        "fix": [
            ("def forward(x):", "def forward(self, x):"),
            ("return x * 2", "return self.fc(x) * 2"),
        ],
        "say": "Net.forward has no self: def forward(self, x)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 1)
    def forward(x):
        return x * 2
""",
    },
    {
        "id": "cat_of_branches_along_batch",
        "kind": "concat_dim",
        "input": ((4, 3, 20, 20), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "classifier",
        "expected": "in_features=24",
        "got": "[8, 12]",
        "fix": [("torch.cat([a, b])", "torch.cat([a, b], dim=1)")],
        "say": "classifier gets [8, 12]: torch.cat without dim joined along the batch; torch.cat([a, b], dim=1) gives [4, 24]",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.small = nn.Conv2d(3, 12, 3)
        self.large = nn.Conv2d(3, 12, 7)
        self.classifier = nn.Linear(24, 5)
    def forward(self, x):
        a = F.relu(self.small(x)).mean((2, 3))
        b = F.relu(self.large(x)).mean((2, 3))
        return self.classifier(torch.cat([a, b]))
""",
    },
    {
        "id": "cat_of_maps_along_batch",
        "kind": "concat_dim",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "fuse",
        "expected": "[2, 8, 16, 16]",
        "got": "[2, 4, 16, 16]",
        "fix": [("torch.cat((rgb, edges), 0)", "torch.cat((rgb, edges), 1)")],
        "say": "in fuse the cat along dim 0 joins [2, 8, 16, 16] with [2, 4, 16, 16]: dim=1",
        "code": """\
class Fuse(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.conv = nn.Conv2d(a + b, 8, 1)
    def forward(self, rgb, edges):
        return self.conv(torch.cat((rgb, edges), 0))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rgb = nn.Conv2d(3, 8, 3, padding=1)
        self.edges = nn.Conv2d(3, 4, 3, padding=1)
        self.fuse = Fuse(8, 4)
    def forward(self, x):
        return self.fuse(self.rgb(x), self.edges(x))
""",
    },
    {
        "id": "siamese_cat_doubles_the_batch",
        "kind": "concat_dim",
        "input": ((6, 10), "float32"),
        "inputs": [((6, 10), "float32"), ((6, 10), "float32")],
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "batch 6",
        "got": "batch 12",
        "loss": "F.cross_entropy(out, torch.zeros(6, dtype=torch.long))",
        "loss_name": "CrossEntropyLoss",
        "target": ((6,), "int64", 2),
        "fix": [
            (
                "torch.cat([self.tower(a), self.tower(b)])",
                "torch.cat([self.tower(a), self.tower(b)], -1)",
            ),
            ("nn.Linear(16, 2)", "nn.Linear(32, 2)"),
        ],
        "say": "torch.cat without dim joined the two towers along the batch: 12 rows for 6 labels; dim=-1 and nn.Linear(32, 2)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(10, 16), nn.Tanh())
        self.head = nn.Linear(16, 2)
    def forward(self, a, b):
        return self.head(torch.cat([self.tower(a), self.tower(b)]))
""",
    },
    {
        "id": "stack_instead_of_cat",
        "kind": "concat_dim",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "out",
        "expected": "in_features=16",
        "got": "[4, 2, 8]",
        "fix": [("torch.stack([h1, h2], dim=1)", "torch.cat([h1, h2], dim=1)")],
        "say": "out gets [4, 2, 8]: stack makes a new dimension; torch.cat([h1, h2], dim=1) gives [4, 16]",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.Linear(6, 8)
        self.deep = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8))
        self.out = nn.Linear(8 * 2, 1)
    def forward(self, x):
        h1, h2 = self.wide(x), self.deep(x)
        return self.out(torch.stack([h1, h2], dim=1))
""",
    },
    {
        "id": "weight_not_transposed",
        "kind": "matmul_shape",
        "input": ((8, 20), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "hidden",
        "expected": "[10, 20]",
        "got": "[8, 20]",
        "fix": [("x @ self.weight + self.bias", "x @ self.weight.T + self.bias")],
        "say": "in hidden, x [8, 20] @ weight [10, 20] does not fit: x @ weight.T",
        "code": """\
class MyLinear(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) * 0.1)
        self.bias = nn.Parameter(torch.zeros(out_features))
    def forward(self, x):
        return x @ self.weight + self.bias

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = MyLinear(20, 10)
        self.out = MyLinear(10, 1)
    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))
""",
    },
    {
        "id": "attention_scores_without_transpose",
        "kind": "matmul_shape",
        "input": ((2, 7, 12), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "attention",
        "expected": "[2, 12, 7]",
        "got": "[2, 7, 12]",
        "fix": [("torch.bmm(q, k)", "torch.bmm(q, k.transpose(1, 2))")],
        "say": "in attention, bmm of q [2, 7, 12] with k [2, 7, 12] does not fit: k.transpose(1, 2)",
        "code": """\
class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
    def forward(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        scores = torch.bmm(q, k) / q.shape[-1] ** 0.5
        return torch.bmm(scores.softmax(-1), v)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Attention(12)
    def forward(self, x):
        return self.attention(x)
""",
    },
    {
        "id": "adjacency_on_the_wrong_side",
        "kind": "matmul_shape",
        "input": ((5, 8), "float32"),
        "inputs": [((5, 8), "float32"), ((5, 5), "float32")],
        "mode": "eval",
        "where": "forward",
        "layer": "gcn1",
        "expected": "[5, 16]",
        "got": "[5, 5]",
        "fix": [("torch.mm(self.linear(x), adj)", "torch.mm(adj, self.linear(x))")],
        "say": "in gcn1, mm of [5, 16] with the adjacency [5, 5] does not fit: torch.mm(adj, h)",
        "code": """\
class GCNLayer(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.linear = nn.Linear(i, o)
    def forward(self, x, adj):
        return torch.mm(self.linear(x), adj)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gcn1 = GCNLayer(8, 16)
        self.gcn2 = GCNLayer(16, 3)
    def forward(self, x, adj):
        return self.gcn2(F.relu(self.gcn1(x, adj)), adj)
""",
    },
    {
        "id": "bias_of_the_wrong_side",
        "kind": "broadcast_shape",
        "input": ((8, 20), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "",
        "expected": "[8, 10]",
        "got": "[20]",
        "fix": [
            (
                "self.bias = nn.Parameter(torch.zeros(20))",
                "self.bias = nn.Parameter(torch.zeros(10))",
            )
        ],
        "say": "in Net.forward the add joins [8, 10] with bias [20]: the bias has the size of the output, 10",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(20, 10))
        self.bias = nn.Parameter(torch.zeros(20))
    def forward(self, x):
        return x.matmul(self.weight) + self.bias
""",
    },
    {
        "id": "channel_scale_without_axes",
        "kind": "broadcast_shape",
        "input": ((2, 3, 12, 12), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "norm",
        "expected": "[2, 8, 12, 12]",
        "got": "[8]",
        "fix": [("x * self.gamma", "x * self.gamma.view(1, -1, 1, 1)")],
        "say": "in norm, x [2, 8, 12, 12] * gamma [8] compares the channels with the width: gamma.view(1, -1, 1, 1)",
        "code": """\
class RMSNorm2d(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))
    def forward(self, x):
        x = x / x.pow(2).mean(1, keepdim=True).sqrt()
        return x * self.gamma

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = RMSNorm2d(8)
    def forward(self, x):
        return self.norm(self.conv(x))
""",
    },
    {
        "id": "squeeze_excite_without_view",
        "kind": "broadcast_shape",
        "input": ((2, 16, 10, 10), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "blocks.0.se",
        "expected": "[2, 16, 10, 10]",
        "got": "[2, 16]",
        "fix": [("return x * w", "return x * w[:, :, None, None]")],
        "say": "in blocks.0.se, x [2, 16, 10, 10] * w [2, 16] does not broadcast: w[:, :, None, None]",
        "code": """\
class SE(nn.Module):
    def __init__(self, c, r=4):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(c, c // r), nn.ReLU(), nn.Linear(c // r, c), nn.Sigmoid())
    def forward(self, x):
        w = self.fc(x.mean((2, 3)))
        return x * w

class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)
        self.se = SE(c)
    def forward(self, x):
        return x + self.se(self.conv(x))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(16), Block(16))
    def forward(self, x):
        return self.blocks(x)
""",
    },
    {
        "id": "causal_mask_of_full_length",
        "kind": "broadcast_shape",
        "input": ((2, 20, 16), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "attn",
        "expected": "[2, 20, 20]",
        "got": "[32, 32]",
        "fix": [("self.mask == 0", "self.mask[:T, :T] == 0")],
        "fix_input": "F.pad(x, (0, 0, 0, 12))",
        "say": "in attn the mask is [32, 32] but the scores are [2, 20, 20]: self.mask[:T, :T]",
        "code": """\
CONTEXT = 32

class Head(nn.Module):
    def __init__(self, n_embd, head_size):
        super().__init__()
        self.key = nn.Linear(n_embd, head_size, bias=False)
        self.query = nn.Linear(n_embd, head_size, bias=False)
        self.value = nn.Linear(n_embd, head_size, bias=False)
        self.register_buffer('mask', torch.tril(torch.ones(CONTEXT, CONTEXT)))
    def forward(self, x):
        B, T, C = x.shape
        wei = self.query(x) @ self.key(x).transpose(-2, -1)
        wei = wei.masked_fill(self.mask == 0, float('-inf'))
        return wei.softmax(-1) @ self.value(x)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = Head(16, 16)
    def forward(self, x):
        return self.attn(x)
""",
    },
    {
        "id": "positional_encoding_longer_than_text",
        "kind": "broadcast_shape",
        "input": ((2, 12, 8), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "pos",
        "expected": "[2, 12, 8]",
        "got": "[1, 50, 8]",
        "fix": [("return x + self.pe", "return x + self.pe[:, :x.size(1)]")],
        "say": "in pos the add joins x [2, 12, 8] with pe [1, 50, 8]: self.pe[:, :x.size(1)]",
        "code": """\
class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=50):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-9.2 / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2] = torch.sin(position * div_term)
        pe[0, :, 1::2] = torch.cos(position * div_term)
        self.register_buffer('pe', pe)
    def forward(self, x):
        return x + self.pe

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos = PositionalEncoding(8)
        self.fc = nn.Linear(8, 2)
    def forward(self, x):
        return self.fc(self.pos(x))
""",
    },
    {
        "id": "output_head_width",
        "kind": "output_heads",
        "input": ((4, 3, 32, 32), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "heads.box",
        "expected": "in_features=32",
        "got": "64",
        "fix": [("'box': nn.Linear(32, 4)", "'box': nn.Linear(64, 4)")],
        "say": "heads.box (Linear) expects 32 features but the trunk gives 64: nn.Linear(64, 4)",
        "code": """\
class Net(nn.Module):
    def __init__(self, n_classes=3):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 64, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.heads = nn.ModuleDict({'cls': nn.Linear(64, n_classes), 'box': nn.Linear(32, 4)})
    def forward(self, x):
        h = self.trunk(x)
        return {k: head(h) for k, head in self.heads.items()}
""",
    },
    {
        "id": "two_heads_into_one_loss",
        "kind": "output_heads",
        "input": ((5, 9), "float32"),
        "mode": "eval",
        "where": "loss",
        "layer": "",
        "expected": "Tensor",
        "got": "tuple",
        "loss": "F.cross_entropy(out, torch.zeros(5, dtype=torch.long))",
        "loss_name": "CrossEntropyLoss",
        "target": ((5,), "int64", 3),
        "fix": [("return self.policy(h), self.value(h)", "return self.policy(h)")],
        "fix_loss": "F.cross_entropy(out[0], torch.zeros(5, dtype=torch.long))",
        "say": "the output is a tuple of 2 tensors ([5, 3] and [5, 1]): give the loss one of them, out[0]",
        "code": '''\
class Net(nn.Module):
    """Actor-critic."""
    def __init__(self, obs=9, actions=3):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(obs, 16), nn.Tanh())
        self.policy = nn.Linear(16, actions)
        self.value = nn.Linear(16, 1)
    def forward(self, obs):
        h = self.body(obs)
        return self.policy(h), self.value(h)
''',
    },
    {
        "id": "float_size_from_division",
        "kind": "constructor_argument",
        "input": ((4, 1, 28, 28), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "int",
        "got": "float",
        "fix": [("32 * (size / 4) ** 2", "32 * (size // 4) ** 2")],
        "say": "nn.Linear got 1568.0, a float (/ always gives one): size // 4",
        "code": """\
class Net(nn.Module):
    def __init__(self, size=28):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc = nn.Linear(32 * (size / 4) ** 2, 10)
    def forward(self, x):
        x = F.max_pool2d(self.conv1(x).relu(), 2)
        x = F.max_pool2d(self.conv2(x).relu(), 2)
        return self.fc(x.flatten(1))
""",
    },
    {
        "id": "conv_without_kernel_size",
        "kind": "constructor_argument",
        "input": ((1, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "kernel_size",
        "got": "Conv2d(16, 32)",
        "fix": [("nn.Conv2d(16, 32),", "nn.Conv2d(16, 32, 3),")],
        "say": "nn.Conv2d(16, 32) lacks kernel_size: nn.Conv2d(16, 32, 3)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3),
            nn.ReLU(),
            nn.Conv2d(16, 32),
            nn.ReLU(),
        )
    def forward(self, x):
        return self.features(x)
""",
    },
    {
        "id": "keras_spelling",
        "kind": "constructor_argument",
        "input": ((1, 3, 16, 16), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "Conv2d",
        "got": "Conv2D",
        "fix": [("nn.Conv2D", "nn.Conv2d")],
        "say": "torch.nn has no Conv2D (that is Keras); nn.Conv2d",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 16, kernel_size=3)
        self.pool = nn.MaxPool2d(2)
    def forward(self, x):
        return self.pool(self.conv(x))
""",
    },
    {
        "id": "list_given_to_sequential",
        "kind": "constructor_argument",
        "input": ((2, 6), "float32"),
        "mode": "eval",
        "where": "ctor",
        "layer": "",
        "expected": "Module",
        "got": "list",
        "fix": [("nn.Sequential(layers)", "nn.Sequential(*layers)")],
        "say": "Sequential got one list instead of layers: nn.Sequential(*layers)",
        "code": """\
class Net(nn.Module):
    def __init__(self, dims=(6, 12, 3)):
        super().__init__()
        layers = []
        for i, o in zip(dims[:-1], dims[1:]):
            layers += [nn.Linear(i, o), nn.ReLU()]
        self.mlp = nn.Sequential(layers)
    def forward(self, x):
        return self.mlp(x)
""",
    },
    {
        "id": "pixel_shuffle_channels",
        "kind": "pixel_shuffle",
        "input": ((1, 3, 12, 12), "float32"),
        "mode": "eval",
        "where": "forward",
        "layer": "shuffle",
        "expected": "divisible by 9",
        "got": "[1, 12, 12, 12]",
        "fix": [("nn.Conv2d(32, 3 * 4, 3, padding=1)", "nn.Conv2d(32, 3 * 9, 3, padding=1)")],
        "say": "shuffle (PixelShuffle(3)) needs channels divisible by 9 but gets 12: 3 * 3**2 = 27",
        "code": '''\
class Net(nn.Module):
    """ESPCN, super-resolution by 3."""
    def __init__(self, factor=3):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 3 * 4, 3, padding=1)
        self.shuffle = nn.PixelShuffle(factor)
    def forward(self, x):
        return self.shuffle(self.conv2(torch.tanh(self.conv1(x))))
''',
    },
]
