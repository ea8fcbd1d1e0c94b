# ruff: noqa: E501
"""Correct networks that look suspicious: a diagnosis must raise no alarm.

SOUND: one dict a network, in the format of broken_models.py, all of it optional but the first four.
  id      short name
  code    source of a class `Net`; the imports in broken_models.HEADER go before it
  input   (shape, dtype) of the dummy input
  mode    "eval" or "train"
  inputs, below, loss, loss_name, target   as there, but here the loss fits the output

They run in test_broken_models.py.
"""

from typing import Any

SOUND: list[dict[str, Any]] = [
    {
        "id": "lm_flat_logits_on_purpose",
        "input": ((4, 12), "int64"),
        "below": 30,
        "mode": "eval",
        "loss_name": "CrossEntropyLoss",
        "target": ((48,), "int64", 30),
        "code": """\
class Net(nn.Module):
    def __init__(self, vocab=30, d=16):
        super().__init__()
        self.vocab = vocab
        self.emb = nn.Embedding(vocab, d)
        self.rnn = nn.GRU(d, d, batch_first=True)
        self.head = nn.Linear(d, vocab)
    def forward(self, ids):
        h, _ = self.rnn(self.emb(ids))
        return self.head(h).view(-1, self.vocab)
""",
    },
    {
        "id": "gpt_returns_logits_and_no_loss",
        "input": ((2, 9), "int64"),
        "below": 20,
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self, vocab=20, d=8):
        super().__init__()
        self.wte = nn.Embedding(vocab, d)
        self.lm_head = nn.Linear(d, vocab)
    def forward(self, idx, targets=None):
        logits = self.lm_head(self.wte(idx))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))
        return logits, loss
""",
    },
    {
        "id": "list_of_registered_layers",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.layers = [self.fc1, self.fc2, self.fc3]
    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x
""",
    },
    {
        "id": "list_of_layers_added_by_name",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.blocks = []
        for i in range(depth):
            layer = nn.Linear(8, 8)
            self.add_module(f'block{i}', layer)
            self.blocks.append(layer)
    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x
""",
    },
    {
        "id": "dict_of_registered_heads",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cls = nn.Linear(8, 3)
        self.reg = nn.Linear(8, 1)
        self.by_task = {'cls': self.cls, 'reg': (self.reg, 0.5)}
    def forward(self, x, task='cls'):
        return self.by_task[task](x)
""",
    },
    {
        "id": "property_that_lists_layers",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.b = nn.Linear(8, 8)
    @property
    def layers(self):
        return [self.a, self.b]
    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
""",
    },
    {
        "id": "list_of_functions_and_strings",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self, sizes=[8, 16, 4]):
        super().__init__()
        self.sizes = sizes
        self.names = ['hidden', 'out']
        self.activations = [torch.relu, F.gelu, lambda t: t * 2]
        self.fcs = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
    def forward(self, x):
        for fc, act in zip(self.fcs, self.activations):
            x = act(fc(x))
        return x
""",
    },
    {
        "id": "list_of_classes",
        "input": ((2, 3, 8, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
        self.body = nn.Sequential(self.kinds[0](3, 4, 3), self.kinds[1](4), self.kinds[2]())
    def forward(self, x):
        return self.body(x)
""",
    },
    {
        "id": "tied_embedding",
        "input": ((2, 7), "int64"),
        "below": 40,
        "mode": "eval",
        "loss": "F.cross_entropy(out.flatten(0, 1), torch.zeros(14, dtype=torch.long))",
        "code": """\
class Net(nn.Module):
    def __init__(self, vocab=40, d=16):
        super().__init__()
        self.emb = nn.Embedding(vocab, d)
        self.out = nn.Linear(d, vocab, bias=False)
        self.out.weight = self.emb.weight
    def forward(self, x):
        return self.out(self.emb(x))
""",
    },
    {
        "id": "module_used_three_times",
        "input": ((2, 3, 32, 32), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.pool, self.act = nn.MaxPool2d(2), nn.ReLU()
        self.fc = nn.Linear(8 * 4 * 4, 10)
    def forward(self, x):
        x = self.stem(x)
        for _ in range(3):
            x = self.pool(self.act(self.conv(x)))
        return self.fc(x.flatten(1))
""",
    },
    {
        "id": "one_head_on_maps_of_many_sizes",
        "input": ((1, 3, 64, 64), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.downs = nn.ModuleList([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)])
        self.head = nn.Conv2d(8, 5, 1)
    def forward(self, x):
        outs = []
        for down in self.downs:
            x = down(x).relu()
            outs.append(self.head(x).flatten(2))
        return torch.cat(outs, dim=2).transpose(1, 2)
""",
    },
    {
        "id": "frozen_backbone",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "train",
        "loss_name": "CrossEntropyLoss",
        "target": ((2,), "int64", 4),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.backbone.requires_grad_(False)
        self.head = nn.Linear(8, 4)
    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self
    def forward(self, x):
        return self.head(self.backbone(x).mean((2, 3)))
""",
    },
    {
        "id": "mixture_of_experts",
        "input": ((16, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self, experts=4):
        super().__init__()
        self.gate = nn.Linear(8, experts)
        self.experts = nn.ModuleList([nn.Linear(8, 6) for _ in range(experts)])
    def forward(self, x):
        weight, choice = self.gate(x).softmax(-1).max(dim=-1)
        out = x.new_zeros(x.size(0), 6)
        for i in choice.unique().tolist():
            rows = (choice == i).nonzero().squeeze(1)
            if rows.numel() == 0:
                continue
            out[rows] = self.experts[i](x[rows]) * weight[rows, None]
        return out
""",
    },
    {
        "id": "one_expert_by_item",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(8, 3)
        self.experts = nn.ModuleList([nn.Linear(8, 2), nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2)), nn.Linear(8, 2)])
    def forward(self, x):
        k = self.router(x).mean(0).argmax().item()
        return self.experts[k](x)
""",
    },
    {
        "id": "branch_on_the_sum",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.warm, self.cold = nn.Linear(8, 2), nn.Linear(8, 2)
    def forward(self, x):
        if x.sum() > 0:
            return self.warm(x)
        return self.cold(x)
""",
    },
    {
        "id": "while_until_it_converges",
        "input": ((3, 5), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """A deep equilibrium model."""
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(5, 5)
        with torch.no_grad():
            self.f.weight.mul_(0.3)
    def forward(self, x):
        z, steps = torch.zeros_like(x), 0
        while steps < 30:
            new = torch.tanh(self.f(z) + x)
            if (new - z).norm() < 1e-4:
                break
            z, steps = new, steps + 1
        return z
''',
    },
    {
        "id": "constants_made_in_forward",
        "input": ((2, 10), "int64"),
        "below": 50,
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos = nn.Embedding(50, 8), nn.Embedding(32, 8)
        self.rnn = nn.GRU(8, 8, batch_first=True)
    def forward(self, ids):
        n, length = ids.shape
        x = self.tok(ids) + self.pos(torch.arange(length))
        h0 = torch.zeros(1, n, 8)
        out, _ = self.rnn(x, h0)
        return out * torch.ones(1, length, 1)
""",
    },
    {
        "id": "drop_path_rates",
        "input": ((2, 4, 16), "float32"),
        "mode": "train",
        "code": """\
class DropPath(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p
    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * keep / (1 - self.p)

class Net(nn.Module):
    def __init__(self, depth=3, rate=0.2):
        super().__init__()
        rates = [r.item() for r in torch.linspace(0, rate, depth)]
        self.last = torch.linspace(0, rate, depth).tolist()[-1]
        self.blocks = nn.ModuleList([nn.Linear(16, 16) for _ in rates])
        self.drops = nn.ModuleList([DropPath(r) for r in rates])
    def forward(self, x):
        for block, drop in zip(self.blocks, self.drops):
            x = x + drop(block(x))
        return x
""",
    },
    {
        "id": "causal_mask_buffer",
        "input": ((2, 10, 16), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self, context=64):
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.register_buffer('mask', torch.tril(torch.ones(context, context, dtype=torch.bool)), persistent=False)
    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        t = x.size(1)
        scores = (q @ k.mT / 4).masked_fill(~self.mask[:t, :t], float('-inf'))
        return scores.softmax(-1) @ v
""",
    },
    {
        "id": "dict_output",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 3), nn.Linear(8, 1)
    def forward(self, x):
        return {'logits': self.a(x), 'value': self.b(x).squeeze(1), 'note': 'ok'}
""",
    },
    {
        "id": "dataclass_output",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
from dataclasses import dataclass

@dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor | None = None

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 5), nn.Linear(5, 3)
    def forward(self, x, keep=False):
        h = self.a(x).tanh()
        return Output(self.b(h), h if keep else None)
""",
    },
    {
        "id": "named_tuple_between_modules",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
from typing import NamedTuple

class State(NamedTuple):
    mean: torch.Tensor
    std: torch.Tensor

class Posterior(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 6)
    def forward(self, x):
        mean, raw = self.fc(x).chunk(2, -1)
        return State(mean, F.softplus(raw))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.posterior, self.out = Posterior(), nn.Linear(3, 1)
    def forward(self, x):
        state = self.posterior(x)
        return self.out(state.mean), state
""",
    },
    {
        "id": "nested_outputs_with_none",
        "input": ((2, 6, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 4, batch_first=True)
    def forward(self, x, past=None):
        out, state = self.lstm(x, past)
        return out, (state, None), [None, {'last': out[:, -1]}]
""",
    },
    {
        "id": "module_that_returns_none",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Log(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer('mean', torch.zeros(()))
    def forward(self, x):
        self.mean.copy_(x.detach().mean())

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.log, self.fc = Log(), nn.Linear(8, 2)
    def forward(self, x):
        self.log(x)
        return self.fc(x)
""",
    },
    {
        "id": "packed_sequence",
        "input": ((4, 9), "int64"),
        "below": 20,
        "mode": "eval",
        "code": """\
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(20, 8, padding_idx=0)
        self.lstm = nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(12, 3)
    def forward(self, ids):
        lengths = (ids != 0).sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(self.emb(ids), lengths, batch_first=True, enforce_sorted=False)
        out, (h, c) = self.lstm(packed)
        out, _ = pad_packed_sequence(out, batch_first=True)
        return self.fc(torch.cat([h[0], h[1]], dim=1))
""",
    },
    {
        "id": "time_major_lstm",
        "input": ((30, 4, 8), "float32"),
        "mode": "eval",
        "loss_name": "CrossEntropyLoss",
        "target": ((4,), "int64", 3),
        "code": '''\
class Net(nn.Module):
    """The input is [time, batch, features]."""
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 16)
        self.fc = nn.Linear(16, 3)
    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[-1])
''',
    },
    {
        "id": "batch_first_input_transposed_for_the_rnn",
        "input": ((4, 30, 8), "float32"),
        "mode": "eval",
        "loss_name": "CrossEntropyLoss",
        "target": ((4,), "int64", 3),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(8, 16)
        self.fc = nn.Linear(16, 3)
    def forward(self, x):
        _, h = self.rnn(x.transpose(0, 1))
        return self.fc(h[-1])
""",
    },
    {
        "id": "ctc_acoustic_model",
        "input": ((2, 40, 13), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """CTC wants [time, batch, classes]."""
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(13, 12, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(24, 29)
    def forward(self, x):
        return self.fc(self.gru(x)[0]).log_softmax(-1).transpose(0, 1)
''',
    },
    {
        "id": "mse_of_equal_columns",
        "input": ((8, 4), "float32"),
        "mode": "eval",
        "loss_name": "MSELoss",
        "target": ((8, 1), "float32", None),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 1)
    def forward(self, x):
        return self.fc(x)
""",
    },
    {
        "id": "mse_of_square_outputs",
        "input": ((6, 4), "float32"),
        "mode": "eval",
        "loss_name": "MSELoss",
        "target": ((6, 6), "float32", None),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 6)
    def forward(self, x):
        return self.fc(x)
""",
    },
    {
        "id": "kl_divergence",
        "input": ((8, 4), "float32"),
        "mode": "eval",
        "loss": "F.kl_div(out, torch.full((8, 5), 0.2), reduction='batchmean')",
        "loss_name": "KLDivLoss",
        "target": ((8, 5), "float32", 2),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 5)
    def forward(self, x):
        return F.log_softmax(self.fc(x), dim=1)
""",
    },
    {
        "id": "cross_entropy_of_probabilities",
        "input": ((8, 4), "float32"),
        "mode": "eval",
        "loss": "F.cross_entropy(out, torch.full((8, 5), 0.2))",
        "loss_name": "CrossEntropyLoss",
        "target": ((8, 5), "float32", 2),
        "code": '''\
class Net(nn.Module):
    """Trained with mixup: the targets are soft."""
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 5)
    def forward(self, x):
        return self.fc(x)
''',
    },
    {
        "id": "per_pixel_cross_entropy",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "loss_name": "CrossEntropyLoss",
        "target": ((2, 16, 16), "int64", 4),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "tagger_with_classes_second",
        "input": ((2, 12, 8), "float32"),
        "mode": "eval",
        "loss_name": "CrossEntropyLoss",
        "target": ((2, 12), "int64", 5),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 5)
    def forward(self, x):
        return self.fc(x).transpose(1, 2)
""",
    },
    {
        "id": "sigmoid_with_bce",
        "input": ((8, 4), "float32"),
        "mode": "eval",
        "loss": "F.binary_cross_entropy(out, torch.ones(8))",
        "loss_name": "BCELoss",
        "target": ((8,), "float32", 2),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 1)
    def forward(self, x):
        return torch.sigmoid(self.fc(x)).squeeze(-1)
""",
    },
    {
        "id": "softmax_with_mse",
        "input": ((8, 4), "float32"),
        "mode": "eval",
        "loss_name": "MSELoss",
        "target": ((8, 3), "float32", None),
        "code": '''\
class Net(nn.Module):
    """Distillation: the target is the teacher's softmax."""
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
    def forward(self, x):
        return self.fc(x).softmax(1)
''',
    },
    {
        "id": "deep_supervision",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "train",
        "loss": "sum(F.cross_entropy(o, torch.zeros(2, dtype=torch.long)) for o in out)",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3)])
        self.heads = nn.ModuleList([nn.Linear(8, 4), nn.Linear(16, 4)])
    def forward(self, x):
        outs = []
        for stage, head in zip(self.stages, self.heads):
            x = stage(x).relu()
            outs.append(head(x.mean((2, 3))))
        return outs if self.training else outs[-1]
""",
    },
    {
        "id": "gan_generator",
        "input": ((4, 32), "float32"),
        "mode": "train",
        "code": """\
class Net(nn.Module):
    def __init__(self, nz=32):
        super().__init__()
        self.fc = nn.Linear(nz, 16 * 7 * 7)
        self.up = nn.Sequential(
            nn.BatchNorm2d(16), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),
        )
    def forward(self, z):
        return self.up(self.fc(z).view(-1, 16, 7, 7))
""",
    },
    {
        "id": "gan_discriminator",
        "input": ((4, 3, 16, 16), "float32"),
        "mode": "eval",
        "loss_name": "BCEWithLogitsLoss",
        "target": ((4,), "float32", 2),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8, 16, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(16, 1, 4, 1, 0),
        )
    def forward(self, x):
        return self.main(x).view(-1)
""",
    },
    {
        "id": "siamese",
        "input": ((4, 1, 20, 20), "float32"),
        "inputs": [((4, 1, 20, 20), "float32"), ((4, 1, 20, 20), "float32")],
        "mode": "eval",
        "loss": "out[0].sum() + out[1].sum()",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16 * 16, 8))
    def forward_once(self, x):
        return F.normalize(self.tower(x), dim=1)
    def forward(self, a, b):
        return self.forward_once(a), self.forward_once(b)
""",
    },
    {
        "id": "siamese_by_batch_concat",
        "input": ((4, 10), "float32"),
        "inputs": [((4, 10), "float32"), ((4, 10), "float32")],
        "mode": "eval",
        "loss_name": "BCEWithLogitsLoss",
        "target": ((4,), "float32", 2),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = nn.Linear(10, 8)
    def forward(self, a, b):
        ha, hb = self.tower(torch.cat([a, b])).chunk(2)
        return (ha * hb).sum(1)
""",
    },
    {
        "id": "contrastive_two_views",
        "input": ((4, 3, 16, 16), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """SimCLR: two views of each image, so [2N, D]."""
    def __init__(self):
        super().__init__()
        self.enc = nn.Conv2d(3, 8, 3)
        self.proj = nn.Linear(8, 6)
    def forward(self, x):
        views = torch.cat([x, x.flip(-1)], dim=0)
        return F.normalize(self.proj(self.enc(views).mean((2, 3))), dim=1)
''',
    },
    {
        "id": "pairwise_distances",
        "input": ((5, 4), "float32"),
        "inputs": [((5, 4), "float32"), ((7, 4), "float32")],
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(4, 3)
        self.temperature = nn.Parameter(torch.tensor(0.5))
    def forward(self, a, b):
        a, b = self.f(a), self.f(b)
        return -((a[:, None] - b[None]) ** 2).sum(-1) / self.temperature
""",
    },
    {
        "id": "vae",
        "input": ((4, 1, 12, 12), "float32"),
        "mode": "train",
        "code": """\
class Net(nn.Module):
    def __init__(self, z=3):
        super().__init__()
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.ReLU())
        self.mu, self.logvar = nn.Linear(32, z), nn.Linear(32, z)
        self.dec = nn.Sequential(nn.Linear(z, 32), nn.ReLU(), nn.Linear(32, 144), nn.Sigmoid(), nn.Unflatten(1, (1, 12, 12)))
    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar
""",
    },
    {
        "id": "einsum_attention",
        "input": ((2, 6, 12), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self, heads=3):
        super().__init__()
        self.h = heads
        self.wq, self.wk, self.wv = (nn.Parameter(torch.randn(heads, 12, 4) * 0.1) for _ in range(3))
    def forward(self, x):
        q, k, v = (torch.einsum('btc,hcd->bhtd', x, w) for w in (self.wq, self.wk, self.wv))
        a = torch.einsum('bhtd,bhsd->bhts', q, k).softmax(-1)
        return torch.einsum('bhts,bhsd->bthd', a, v).flatten(2)
""",
    },
    {
        "id": "unused_layers",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 2)
        self.aux_head = nn.Linear(123, 4)
        self.old = nn.Sequential(nn.Conv2d(3, 9, 3), nn.Linear(1, 1))
    def forward(self, x):
        return self.fc(x)
""",
    },
    {
        "id": "loss_module_as_attribute",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(2))
        self.fc = nn.Linear(8, 2)
    def forward(self, x, y=None):
        out = self.fc(x)
        return out if y is None else self.criterion(out, y)
""",
    },
    {
        "id": "custom_autograd_function",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < 1)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)
    def forward(self, x):
        return Sign.apply(self.fc(x))
""",
    },
    {
        "id": "weight_norm",
        "input": ((2, 3, 20), "float32"),
        "mode": "eval",
        "code": '''\
from torch.nn.utils.parametrizations import weight_norm

class Net(nn.Module):
    """A temporal convolution; Chomp1d cuts the padding off."""
    def __init__(self):
        super().__init__()
        self.conv1 = weight_norm(nn.Conv1d(3, 8, 3, padding=4, dilation=2))
        self.conv2 = weight_norm(nn.Conv1d(8, 3, 3, padding=4, dilation=2))
    def forward(self, x):
        y = self.conv1(x)[:, :, :-4].relu()
        y = self.conv2(y)[:, :, :-4]
        return x + y
''',
    },
    {
        "id": "spectral_norm",
        "input": ((2, 3, 8, 8), "float32"),
        "mode": "train",
        "code": """\
from torch.nn.utils.parametrizations import spectral_norm

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = spectral_norm(nn.Conv2d(3, 4, 3))
        self.fc = spectral_norm(nn.Linear(4, 1))
    def forward(self, x):
        return self.fc(self.conv(x).sum((2, 3)))
""",
    },
    {
        "id": "custom_parametrization",
        "input": ((2, 5), "float32"),
        "mode": "eval",
        "code": """\
from torch.nn.utils import parametrize

class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 5)
        parametrize.register_parametrization(self.fc, 'weight', Symmetric())
    def forward(self, x):
        return self.fc(x)
""",
    },
    {
        "id": "fourier_layer",
        "input": ((2, 4, 32), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """A layer of a Fourier neural operator: complex weights."""
    def __init__(self, c=4, modes=6):
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.randn(c, c, modes, dtype=torch.cfloat) / c)
        self.skip = nn.Conv1d(c, c, 1)
    def forward(self, x):
        spectrum = torch.fft.rfft(x)
        out = torch.zeros_like(spectrum)
        out[..., :self.modes] = torch.einsum('bik,iok->bok', spectrum[..., :self.modes], self.weight)
        return torch.fft.irfft(out, n=x.size(-1)) + self.skip(x)
''',
    },
    {
        "id": "spectrogram_inside",
        "input": ((2, 800), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer('window', torch.hann_window(64))
        self.conv = nn.Conv2d(1, 4, 3)
    def forward(self, wave):
        spec = torch.stft(wave, 64, hop_length=32, window=self.window, return_complex=True)
        return self.conv(spec.abs().log1p().unsqueeze(1)).mean((2, 3))
""",
    },
    {
        "id": "bilinear",
        "input": ((4, 5), "float32"),
        "inputs": [((4, 5), "float32"), ((4, 7), "float32")],
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bi = nn.Bilinear(5, 7, 2)
    def forward(self, a, b):
        return self.bi(a, b)
""",
    },
    {
        "id": "embedding_bag",
        "input": ((4, 6), "int64"),
        "below": 30,
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(30, 8, mode='mean')
        self.fc = nn.Linear(8, 2)
    def forward(self, ids):
        flat = ids.reshape(-1)
        offsets = torch.arange(0, flat.numel(), ids.size(1))
        return self.fc(self.bag(flat, offsets))
""",
    },
    {
        "id": "conv3d_video",
        "input": ((2, 3, 8, 16, 16), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv3d(3, 8, (3, 5, 5), padding=(1, 2, 2)), nn.BatchNorm3d(8), nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 3),
        )
    def forward(self, clip):
        return self.net(clip)
""",
    },
    {
        "id": "transposed_conv_with_output_size",
        "input": ((1, 3, 25, 31), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, 2, 1)
        self.up = nn.ConvTranspose2d(8, 3, 3, 2, 1)
    def forward(self, x):
        return x + self.up(self.down(x), output_size=x.shape[-2:])
""",
    },
    {
        "id": "max_unpool",
        "input": ((1, 1, 10, 10), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
    def forward(self, x):
        y, where = self.pool(x)
        return self.unpool(y, where)
""",
    },
    {
        "id": "pixel_shuffle",
        "input": ((1, 3, 8, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self, r=2):
        super().__init__()
        self.body = nn.Sequential(nn.PixelUnshuffle(r), nn.Conv2d(3 * r * r, 3 * r ** 4, 3, 1, 1), nn.PixelShuffle(r), nn.PixelShuffle(r))
    def forward(self, x):
        return self.body(x)
""",
    },
    {
        "id": "spatial_transformer",
        "input": ((2, 1, 14, 14), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.loc = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(400, 6))
        self.loc[-1].weight.data.zero_()
        self.loc[-1].bias.data.copy_(torch.tensor([1, 0, 0, 0, 1, 0], dtype=torch.float))
    def forward(self, x):
        theta = self.loc(x).view(-1, 2, 3)
        grid = F.affine_grid(theta, x.size(), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)
""",
    },
    {
        "id": "rnn_cell_loop",
        "input": ((3, 6, 5), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.GRUCell(5, 7), nn.Linear(7, 5)
    def forward(self, x, extra_steps=3):
        h = x.new_zeros(x.size(0), 7)
        for step in x.unbind(1):
            h = self.cell(step, h)
        outs = []
        for _ in range(extra_steps):
            outs.append(self.out(h))
            h = self.cell(outs[-1], h)
        return torch.stack(outs, dim=1)
""",
    },
    {
        "id": "whole_transformer",
        "input": ((2, 7, 16), "float32"),
        "inputs": [((2, 7, 16), "float32"), ((2, 5, 16), "float32")],
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
    def forward(self, src, tgt):
        mask = nn.Transformer.generate_square_subsequent_mask(tgt.size(1))
        return self.t(src, tgt, tgt_mask=mask)
""",
    },
    {
        "id": "encoder_with_padding_mask",
        "input": ((3, 8), "int64"),
        "below": 20,
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(20, 16, padding_idx=0)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    def forward(self, ids):
        pad = ids == 0
        pad[:, 0] = False
        x = self.enc(self.emb(ids), src_key_padding_mask=pad)
        keep = (~pad).unsqueeze(-1)
        return (x * keep).sum(1) / keep.sum(1)
""",
    },
    {
        "id": "sequence_first_transformer",
        "input": ((9, 2, 16), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """The input is [length, batch, features]."""
    def __init__(self):
        super().__init__()
        self.enc = nn.TransformerEncoderLayer(16, 4, 32)
        self.fc = nn.Linear(16, 3)
    def forward(self, x):
        return self.fc(self.enc(x).mean(0))
''',
    },
    {
        "id": "module_dict",
        "input": ((4, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.acts = nn.ModuleDict({'relu': nn.ReLU(), 'prelu': nn.PReLU()})
        self.heads = nn.ModuleDict({'a': nn.Linear(8, 1), 'b': nn.Linear(8, 4)})
    def forward(self, x, act='prelu'):
        return {k: self.acts[act](h(x)) for k, h in self.heads.items()}
""",
    },
    {
        "id": "lazy_layers",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "arguments_that_are_no_tensors",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x, scale: float = 2.0, mode: str = 'bilinear', size=None, *args, debug=False, **kwargs):
        x = F.interpolate(x, size=size, scale_factor=None if size else scale, mode=mode)
        return self.conv(x)
""",
    },
    {
        "id": "parameterless",
        "input": ((2, 3, 4), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Softmax(dim=1))
    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "float64_model",
        "input": ((4, 6), "float64"),
        "mode": "eval",
        "loss_name": "MSELoss",
        "target": ((4, 2), "float64", None),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "bfloat16_model",
        "input": ((2, 3, 12, 12), "bfloat16"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.bfloat16()
    def forward(self, x):
        return self.norm(self.conv(x)).mean((2, 3))
""",
    },
    {
        "id": "half_model",
        "input": ((4, 6), "float16"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 2)
        self.half()
    def forward(self, x):
        return self.fc(x).float().softmax(1)
""",
    },
    {
        "id": "autocast_inside",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 2)
    def forward(self, x):
        with torch.autocast('cpu', dtype=torch.bfloat16):
            x = self.b(self.a(x).relu())
        return x.float()
""",
    },
    {
        "id": "uint8_images_scaled_inside",
        "input": ((2, 16, 16, 3), "uint8"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Takes the images as OpenCV gives them."""
    def __init__(self):
        super().__init__()
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, images):
        x = images.permute(0, 3, 1, 2).float().div_(255)
        return self.conv(x - self.mean)
''',
    },
    {
        "id": "float_column_of_ids",
        "input": ((6, 3), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Column 0 is a category, the others are numbers."""
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(10, 4)
        self.fc = nn.Linear(6, 1)
    def forward(self, x):
        ids = x[:, 0].abs().long().clamp(max=9)
        return self.fc(torch.cat([self.emb(ids), x[:, 1:]], 1))
''',
    },
    {
        "id": "in_place_operations",
        "input": ((2, 3, 10, 10), "float32"),
        "mode": "train",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
    def forward(self, x):
        y = self.act(self.conv(x))
        y += x
        y = y.mul_(0.5).clamp_(max=6)
        z = torch.zeros_like(y)
        z[:, 1:] = y[:, :-1]
        return z
""",
    },
    {
        "id": "video_frames_folded_into_the_batch",
        "input": ((2, 4, 3, 16, 16), "float32"),
        "mode": "eval",
        "loss_name": "CrossEntropyLoss",
        "target": ((2,), "int64", 5),
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.rnn = nn.LSTM(8, 6, batch_first=True)
        self.fc = nn.Linear(6, 5)
    def forward(self, clip):
        n, t, c, h, w = clip.shape
        feats = self.cnn(clip.view(n * t, c, h, w)).view(n, t, -1)
        out, _ = self.rnn(feats)
        return self.fc(out[:, -1])
""",
    },
    {
        "id": "window_attention",
        "input": ((2, 8, 8, 12), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Swin: windows go into the batch and come back; channels last."""
    def __init__(self, window=4):
        super().__init__()
        self.w = window
        self.norm = nn.LayerNorm(12)
        self.attn = nn.MultiheadAttention(12, 3, batch_first=True)
    def forward(self, x):
        n, h, w, c = x.shape
        y = self.norm(x).view(n, h // self.w, self.w, w // self.w, self.w, c)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(-1, self.w * self.w, c)
        y = self.attn(y, y, y, need_weights=False)[0]
        y = y.view(n, h // self.w, w // self.w, self.w, self.w, c).permute(0, 1, 3, 2, 4, 5)
        return x + y.reshape(n, h, w, c)
''',
    },
    {
        "id": "batch_folded_into_groups",
        "input": ((3, 4, 10, 10), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Every sample has filters of its own: one grouped convolution over the batch."""
    def __init__(self):
        super().__init__()
        self.hyper = nn.Linear(4, 5 * 4 * 9)
    def forward(self, x):
        n, c, h, w = x.shape
        weight = self.hyper(x.mean((2, 3))).view(n * 5, c, 3, 3)
        y = F.conv2d(x.reshape(1, n * c, h, w), weight, padding=1, groups=n)
        return y.view(n, 5, h, w)
''',
    },
    {
        "id": "detection_list_of_dicts",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
    def forward(self, images):
        maps = self.conv(images).flatten(2).transpose(1, 2)
        out = []
        for m in maps:
            keep = m[:, 4].sigmoid() > 0.5
            out.append({'boxes': m[keep, :4], 'scores': m[keep, 4].sigmoid()})
        return out
""",
    },
    {
        "id": "nothing_selected",
        "input": ((6, 4), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """No row passes, so an empty tensor goes through the layers."""
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)
    def forward(self, x):
        chosen = x[x[:, 0] > 1e6]
        return self.fc(chosen)
''',
    },
    {
        "id": "quantile_and_sort",
        "input": ((8, 12), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 1)
    def forward(self, x):
        q = torch.quantile(x, torch.tensor([0.1, 0.5, 0.9]), dim=1).T
        top = x.topk(2, dim=1).values
        return self.fc(torch.cat([q, top], dim=1))
""",
    },
    {
        "id": "boolean_mask_selects_tokens",
        "input": ((2, 10), "int64"),
        "below": 12,
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """BERT's masked tokens: the output has a row for every masked one."""
    def __init__(self):
        super().__init__()
        self.emb, self.head = nn.Embedding(12, 8), nn.Linear(8, 12)
    def forward(self, ids):
        masked = ids % 3 == 0
        return self.head(self.emb(ids)[masked])
''',
    },
    {
        "id": "no_grad_inside",
        "input": ((4, 6), "float32"),
        "mode": "train",
        "code": '''\
import copy

class Net(nn.Module):
    """A momentum teacher beside the student."""
    def __init__(self):
        super().__init__()
        self.student = nn.Linear(6, 3)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
    def forward(self, x):
        with torch.no_grad():
            for t, s in zip(self.teacher.parameters(), self.student.parameters()):
                t.lerp_(s, 0.01)
            target = self.teacher(x)
        return self.student(x), target
''',
    },
    {
        "id": "gradient_inside_forward",
        "input": ((4, 2), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Forces are the gradient of an energy, also when the caller has no_grad."""
    def __init__(self):
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            e = self.energy(x).sum()
            (force,) = torch.autograd.grad(e, x, create_graph=self.training)
        return -force
''',
    },
    {
        "id": "vector_quantisation",
        "input": ((2, 4, 6, 6), "float32"),
        "mode": "train",
        "code": """\
class Net(nn.Module):
    def __init__(self, codes=10, d=4):
        super().__init__()
        self.codebook = nn.Embedding(codes, d)
    def forward(self, x):
        flat = x.permute(0, 2, 3, 1).reshape(-1, x.size(1))
        ids = torch.cdist(flat, self.codebook.weight).argmin(1)
        q = self.codebook(ids).view(x.size(0), x.size(2), x.size(3), -1).permute(0, 3, 1, 2)
        loss = F.mse_loss(q, x.detach())
        return x + (q - x).detach(), loss, ids
""",
    },
    {
        "id": "hooks_of_its_own",
        "input": ((2, 3, 10, 10), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = {}
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.conv.register_forward_hook(self._keep)
        self.fc.register_forward_pre_hook(lambda m, args: (args[0].flatten(1),))
    def _keep(self, module, args, out):
        self.features['conv'] = out
    def forward(self, x):
        y = self.conv(x)
        return self.fc(F.adaptive_avg_pool2d(y, 1)), self.features['conv']
""",
    },
    {
        "id": "keyword_only_layers",
        "input": ((2, 6, 8), "float32"),
        "mode": "eval",
        "code": """\
class Mix(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
    def forward(self, *, query, context=None):
        return self.fc(query) + (0 if context is None else context.mean(1, keepdim=True))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = Mix()
        self.attn = nn.MultiheadAttention(embed_dim=8, num_heads=2, batch_first=True)
    def forward(self, x):
        y = self.mix(query=x, context=x)
        return self.attn(query=y, key=x, value=x)[0]
""",
    },
    {
        "id": "call_overridden",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "code": """\
class Scaled(nn.Linear):
    def __call__(self, x, scale=2.0):
        return super().__call__(x) * scale

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Scaled(6, 6), Scaled(6, 1)
    def forward(self, x):
        return self.b(self.a(x, scale=0.5))
""",
    },
    {
        "id": "slots_and_properties",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "code": """\
class Config:
    __slots__ = ('hidden', 'out')
    def __init__(self, hidden, out):
        self.hidden, self.out = hidden, out

class Net(nn.Module):
    __constants__ = ['depth']
    def __init__(self):
        super().__init__()
        self.config = Config(8, 2)
        self.depth = 2
        self.a = nn.Linear(6, self.config.hidden)
        self.b = nn.Linear(self.width, self.config.out)
    @property
    def width(self):
        return self.a.out_features
    @property
    def device(self):
        return next(self.parameters()).device
    @property
    def not_for_you(self):
        raise RuntimeError('only after fit()')
    def forward(self, x):
        return self.b(self.a(x.to(self.device)))
""",
    },
    {
        "id": "shapes_asserted",
        "input": ((2, 3, 32, 32), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
    def forward(self, x):
        assert x.ndim == 4 and x.shape[1] == 3, f'expected [N, 3, H, W], got {tuple(x.shape)}'
        torch._assert(x.shape[2] % 2 == 0, 'even height')
        y = self.conv(x)
        assert y.shape[-1] == x.shape[-1] // 2
        return y
""",
    },
    {
        "id": "error_caught_inside",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Falls back to the other layer when the first does not fit."""
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(7, 2), nn.Linear(6, 2)
    def forward(self, x):
        try:
            return self.first(x)
        except RuntimeError:
            return self.second(x)
''',
    },
    {
        "id": "checkpointed_blocks",
        "input": ((2, 5, 8), "float32"),
        "mode": "train",
        "code": """\
from torch.utils.checkpoint import checkpoint

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU()) for _ in range(3)])
    def forward(self, x):
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=False)
        return x
""",
    },
    {
        "id": "functional_call",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "code": '''\
from torch.func import functional_call

class Net(nn.Module):
    """Fast weights: the layer runs with other parameters."""
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 2)
        self.delta = nn.ParameterDict({'weight': torch.zeros(2, 6), 'bias': torch.ones(2)})
    def forward(self, x):
        fast = {k: p + self.delta[k] for k, p in self.fc.named_parameters()}
        return functional_call(self.fc, fast, (x,))
''',
    },
    {
        "id": "vmap_over_an_ensemble",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self, members=3):
        super().__init__()
        self.w = nn.Parameter(torch.randn(members, 6, 2) * 0.1)
    def forward(self, x):
        return torch.vmap(lambda w: x @ w)(self.w).mean(0)
""",
    },
    {
        "id": "graph_convolution",
        "input": ((6, 4), "float32"),
        "inputs": [((6, 4), "float32"), ((2, 10), "int64")],
        "below": 6,
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Nodes [6, 4] and edges [2, 10]: there is no batch dimension, the graph gives one vector."""
    def __init__(self):
        super().__init__()
        self.lin, self.out = nn.Linear(4, 8), nn.Linear(8, 3)
    def forward(self, x, edges):
        src, dst = edges
        h = self.lin(x)
        h = h.index_add(0, dst, h[src]).relu()
        return self.out(h.mean(0))
''',
    },
    {
        "id": "one_unbatched_image",
        "input": ((3, 20, 20), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Style transfer of one image."""
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 3, 1))
    def forward(self, image):
        return self.net(image)
''',
    },
    {
        "id": "batch_of_one_in_eval",
        "input": ((1, 8), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "batch_of_one_map_in_train",
        "input": ((1, 3, 8, 8), "float32"),
        "mode": "train",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    def forward(self, x):
        return self.net(x)
""",
    },
    {
        "id": "batchnorm_on_sequences",
        "input": ((4, 10, 6), "float32"),
        "mode": "train",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.bn = nn.Linear(6, 8), nn.BatchNorm1d(8)
        self.inst = nn.InstanceNorm1d(8, affine=True)
    def forward(self, x):
        return self.inst(self.bn(self.fc(x).transpose(1, 2))).transpose(1, 2)
""",
    },
    {
        "id": "linear_on_maps_channels_last",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """ConvNeXt block: Linear on 4-D tensors."""
    def __init__(self, d=8):
        super().__init__()
        self.stem = nn.Conv2d(3, d, 4, 4)
        self.dw = nn.Conv2d(d, d, 7, padding=3, groups=d)
        self.norm = nn.LayerNorm(d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.gamma = nn.Parameter(1e-6 * torch.ones(d))
    def forward(self, x):
        x = self.stem(x)
        y = self.norm(self.dw(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)
''',
    },
    {
        "id": "linear_on_the_width",
        "input": ((2, 3, 16, 16), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Mixes the 16 columns of each row on purpose: no flatten is missing."""
    def __init__(self):
        super().__init__()
        self.rows = nn.Linear(16, 16)
        self.conv = nn.Conv2d(3, 2, 1)
    def forward(self, x):
        return self.conv(self.rows(x))
''',
    },
    {
        "id": "resnet_with_identity_head",
        "input": ((2, 3, 32, 32), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = torchvision.models.resnet18(weights=None)
        self.encoder.fc = nn.Identity()
        self.heads = nn.ModuleList([nn.Linear(512, 2), nn.Linear(512, 5)])
    def forward(self, x):
        h = self.encoder(x)
        return tuple(head(h) for head in self.heads)
""",
    },
    {
        "id": "feature_extractor_by_fx",
        "input": ((1, 3, 32, 32), "float32"),
        "mode": "eval",
        "code": """\
from torchvision.models.feature_extraction import create_feature_extractor

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        net = torchvision.models.squeezenet1_1(weights=None)
        self.body = create_feature_extractor(net, {'features.3.cat': 'early', 'features.6.cat': 'late'})
    def forward(self, x):
        return self.body(x)
""",
    },
    {
        "id": "unet_that_pads_odd_sizes",
        "input": ((1, 3, 37, 50), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.out = nn.Conv2d(16, 2, 1)
    def forward(self, x):
        a = self.down(x)
        b = self.up(self.deep(F.max_pool2d(a, 2)))
        dy, dx = a.size(2) - b.size(2), a.size(3) - b.size(3)
        b = F.pad(b, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.out(torch.cat([a, b], 1))
""",
    },
    {
        "id": "sequential_that_takes_two",
        "input": ((2, 6), "float32"),
        "inputs": [((2, 6), "float32"), ((2, 3), "float32")],
        "mode": "eval",
        "code": """\
class Film(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 12)
    def forward(self, x, c):
        gain, shift = self.fc(c).chunk(2, 1)
        return x * gain + shift

class Both(nn.Sequential):
    def forward(self, x, c):
        for m in self:
            x = m(x, c) if isinstance(m, Film) else m(x)
        return x

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Both(nn.Linear(6, 6), Film(), nn.ReLU(), Film())
    def forward(self, x, c):
        return self.body(x, c)
""",
    },
    {
        "id": "parameter_list_and_dict",
        "input": ((3, 4), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.ws = nn.ParameterList([torch.randn(4, 4) * 0.1 for _ in range(2)])
        self.bs = nn.ParameterDict({'0': torch.zeros(4), '1': torch.zeros(4)})
    def forward(self, x):
        for i, w in enumerate(self.ws):
            x = torch.relu(x @ w + self.bs[str(i)])
        return x
""",
    },
    {
        "id": "recursive_tree",
        "input": ((8, 4), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Folds the rows pairwise into one vector."""
    def __init__(self):
        super().__init__()
        self.merge = nn.Linear(8, 4)
    def forward(self, x):
        if x.size(0) == 1:
            return x
        return self.forward(torch.tanh(self.merge(x.view(-1, 8))))
''',
    },
    {
        "id": "energy_scalar_output",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 1)
    def forward(self, x):
        return self.fc(x).mean()
""",
    },
    {
        "id": "multiple_instance_bag",
        "input": ((1, 12, 6), "float32"),
        "mode": "eval",
        "loss_name": "BCEWithLogitsLoss",
        "target": ((1,), "float32", 2),
        "code": '''\
class Net(nn.Module):
    """A bag of 12 instances has one label; the batch is one bag."""
    def __init__(self):
        super().__init__()
        self.att, self.cls = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1)), nn.Linear(6, 1)
    def forward(self, bag):
        x = bag.squeeze(0)
        a = self.att(x).T.softmax(1)
        return self.cls(a @ x).view(-1)
''',
    },
    {
        "id": "unfold_and_fold",
        "input": ((2, 3, 12, 12), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.unfold, self.fold = nn.Unfold(4, stride=4), nn.Fold((12, 12), 4, stride=4)
        self.fc = nn.Linear(48, 48)
    def forward(self, x):
        patches = self.unfold(x).transpose(1, 2)
        return self.fold(self.fc(patches).transpose(1, 2))
""",
    },
    {
        "id": "random_in_training_only",
        "input": ((4, 3, 16, 16), "float32"),
        "mode": "train",
        "code": """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.drop = nn.Conv2d(3, 4, 3), nn.Dropout2d(0.5)
    def forward(self, x):
        if self.training:
            if torch.rand(()) < 0.5:
                x = x.flip(-1)
            x = x + 0.01 * torch.randn_like(x)
        return self.drop(self.conv(x)).amax((2, 3))
""",
    },
    {
        "id": "diffusion_with_timestep",
        "input": ((3, 1, 8, 8), "float32"),
        "inputs": [((3, 1, 8, 8), "float32"), ((3,), "int64")],
        "below": 100,
        "mode": "eval",
        "code": """\
import math

class Net(nn.Module):
    def __init__(self, d=8):
        super().__init__()
        self.register_buffer('freqs', torch.exp(-math.log(1e4) * torch.arange(d // 2) / (d // 2)))
        self.time = nn.Sequential(nn.Linear(d, d), nn.SiLU())
        self.inp, self.out = nn.Conv2d(1, d, 3, padding=1), nn.Conv2d(d, 1, 3, padding=1)
    def forward(self, x, t):
        angles = t[:, None].float() * self.freqs
        emb = self.time(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return self.out(F.silu(self.inp(x) + emb[:, :, None, None]))
""",
    },
    {
        "id": "key_value_cache",
        "input": ((2, 3, 8), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Decodes three steps; the keys grow by one each."""
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
    def step(self, x, cache):
        q, k, v = self.qkv(x).chunk(3, -1)
        if cache is not None:
            k, v = torch.cat([cache[0], k], 1), torch.cat([cache[1], v], 1)
        return F.scaled_dot_product_attention(q, k, v), (k, v)
    def forward(self, x):
        cache, outs = None, []
        for t in range(x.size(1)):
            y, cache = self.step(x[:, t:t + 1], cache)
            outs.append(y)
        return torch.cat(outs, 1)
''',
    },
    {
        "id": "layers_called_by_their_methods",
        "input": ((2, 3, 8, 8), "float32"),
        "mode": "eval",
        "code": '''\
class Net(nn.Module):
    """Goes through forward() and functional calls: no hook sees these layers."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 2)
    def forward(self, x):
        y = self.conv.forward(x)
        return F.linear(y.mean((2, 3)), self.fc.weight, self.fc.bias)
''',
    },
    {
        "id": "forward_assigned_in_the_constructor",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "code": """\
class Net(nn.Module):
    def __init__(self, fast=True):
        super().__init__()
        self.fc = nn.Linear(6, 2)
        self.forward = self._fast if fast else self._slow
    def _fast(self, x):
        return self.fc(x)
    def _slow(self, x):
        return torch.stack([self.fc(row) for row in x])
""",
    },
    {
        "id": "cyclic_reference_to_the_parent",
        "input": ((4, 6), "float32"),
        "mode": "eval",
        "code": """\
class Child(nn.Module):
    def __init__(self, parent):
        super().__init__()
        object.__setattr__(self, 'parent', parent)
        self.fc = nn.Linear(6, 6)
    def forward(self, x):
        return self.fc(x) * self.parent.gain

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(6))
        self.child = Child(self)
        self.family = [self, self.child]
    def forward(self, x):
        return self.child(x)
""",
    },
]
