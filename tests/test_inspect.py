"""ptools inspect of names: cards, lists, searches, trees, sources, values; what is wrong is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ptools.testing import Run
from ptools_plugins.inspection.plain import formula, plain

pytestmark = pytest.mark.usefixtures("place")

NET = '''"""Networks of mine."""
import os
from torch import nn

WIDTH = 3


class Net(nn.Module):
    """A small net.

    Args:
        width (int): channels of the input
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 2)

    def forward(self, x):
        """Run it."""
        return self.fc(x)
'''


# -- cards --------------------------------------------------------------------------------------------


def test_a_layer_on_a_card(ptools: Run) -> None:
    """Signature, first paragraph, parameters, shapes, bases, where: 40 lines, 80 columns."""
    done = ptools("inspect", "torch.nn.Conv2d")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert len(lines) + len(done.stderr.splitlines()) <= 40
    assert max(map(len, lines)) <= 80
    assert lines[0] == "torch.nn.Conv2d  (class)"
    assert (
        lines[2]
        == "Conv2d(in_channels: int, out_channels: int, kernel_size: int | tuple[int, int],"
    )
    text = "\n".join(lines)
    assert "Applies a 2D convolution over an input signal composed of several input" in text
    assert "\n  in_channels   (int) Number of channels in the input image\n" in text
    assert "\n  Input: (N, C_in, H_in, W_in) or (C_in, H_in, W_in)\n" in text
    assert "H_out = floor((H_in + 2 * padding[0] - dilation[0] * (kernel_size[0] - 1) -" in text
    assert "\nCall     forward(input: Tensor) -> Tensor\n" in text
    assert "\nBases    torch.nn.modules.conv._ConvNd, torch.nn.modules.module.Module\n" in text
    assert "\nDefined  torch/nn/modules/conv.py:" in text
    assert not any(mark in text for mark in (":math:", ":attr:", "``", "\\frac", "\\text"))


SCREENS = (
    "torch.nn.LSTM torch.nn.CrossEntropyLoss torch.nn.MultiheadAttention torch.nn.Transformer torch.Tensor"
    " torch.optim.AdamW torch.stft torch.einsum torch.Tensor.to torch.float32 torch.utils.data.DataLoader"
    " torch.nn.functional.scaled_dot_product_attention numpy.linspace numpy.ndarray json.dumps"
    " argparse.ArgumentParser torch torch.nn torch.nn.functional torch.optim numpy json email relu"
)


@pytest.mark.parametrize("name", SCREENS.split())
def test_every_answer_fits_a_screen(name: str, ptools: Run) -> None:
    done = ptools("inspect", name)
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]  # a terminal has both
    assert done.exit_code == 0, done.stderr
    assert 3 <= len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() and line.isprintable() for line in lines)


def test_a_card_as_json_has_what_the_screen_cuts(ptools: Run) -> None:
    import torch

    found = ptools("inspect", "torch.nn.LSTM", "--json").document
    assert found["kind"] == "class"
    assert found["signatures"][0].startswith("LSTM(input_size: int, hidden_size: int, num_layers")
    assert [one["name"] for one in found["parameters"]][:2] == ["input_size", "hidden_size"]
    assert len(found["parameters"]) == 8
    assert found["shape"][0] == "Inputs: input, (h_0, c_0)"
    assert found["bases"][0] == "torch.nn.modules.rnn.RNNBase"
    path, line = found["origin"]["file"], found["origin"]["line"]
    assert Path(path).read_text().splitlines()[line - 1] == "class LSTM(RNNBase):"
    assert found["origin"]["shown"] == f"torch/nn/modules/rnn.py:{line}"
    assert "forward" in found["own"]
    assert found["inherited"] == len(
        [n for n in dir(torch.nn.LSTM) if n[0] != "_" and n not in vars(torch.nn.LSTM)]
    )


def test_compiled_functions_say_so_and_point_to_a_docstring(ptools: Run) -> None:
    done = ptools("inspect", "torch.relu").stdout
    assert "\nrelu(input: Tensor) -> Tensor\n" in done
    assert "\nDefined  compiled, in torch\n" in done
    assert "torch.nn.functional.relu, torch.nn.ReLU" in done
    done = ptools("inspect", "Tensor.view").stdout
    assert done.startswith(
        "torch.Tensor.view  (method)\n\nview(*shape) -> Tensor\nview(dtype) -> Tensor\n"
    )


@pytest.mark.parametrize(
    ("alias", "full"),
    [
        ("nn.Linear", "torch.nn.Linear"),
        ("F.relu", "torch.nn.functional.relu"),
        ("np.linspace", "numpy.linspace"),
        ("Tensor.view", "torch.Tensor.view"),
    ],
)
def test_names_as_everybody_writes_them(alias: str, full: str, ptools: Run) -> None:
    assert ptools("inspect", alias, "--json").document["name"] == full


def test_no_torch_for_what_needs_none() -> None:
    code = (
        "import sys; from ptools.cli import main; code = main(['inspect', *sys.argv[1:]]); "
        "print({'torch', 'numpy', 'rich'} & {*sys.modules}, code)"
    )
    for args in (["json"], ["json.dumps"], ["json", "--tree"], ["json", "--grep", "load"]):
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
        assert done.stdout.endswith("\nset() 0\n"), done.stdout + done.stderr


# -- nearly right -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "torch.nn.Conv2D",
            "torch.nn has no 'Conv2D': did you mean Conv2d? ptools inspect torch.nn.Conv2d",
        ),
        ("torch.nn.relu", "did you mean ReLU? ptools inspect torch.nn.ReLU, or torch.relu"),
        ("torch.Conv2d", "did you mean conv2d? ptools inspect torch.conv2d, or torch.nn.Conv2d"),
        ("torch.nn.Lineer", "did you mean Linear?"),
        ("torch.zzz", "torch has no 'zzz'; what it has: ptools inspect torch"),
        ("troch.nn", "there is no module 'troch' here: did you mean torch?"),
        ("qqqq.nn", "there is no module 'qqqq' here; install it, or check its name."),
        ("Conv2dd", "nothing in torch has that name: did you mean torch.nn.Conv2d or"),
        ("zzzzqq", "names with it: ptools inspect torch --grep zzzzqq"),
    ],
)
def test_did_you_mean(name: str, said: str, ptools: Run) -> None:
    done = ptools("inspect", name)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_bare_name_finds_its_places(ptools: Run) -> None:
    found = ptools("inspect", "relu", "--json").document["found"]
    names = [place["name"] for place in found]
    assert names[:3] == ["torch.relu", "torch.nn.functional.relu", "torch.Tensor.relu"]
    assert {"torch.nn.ReLU", "torch.relu_", "torch.Tensor.relu_"} <= {*names}
    lines = ptools("inspect", "Conv2d").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["torch.nn.Conv2d", "torch.conv2d"]
    assert "(also torch.nn.functional.conv2d)" in lines[1]
    assert all("Applies a 2D" in line for line in lines)
    done = ptools("inspect", "max_pool2d")
    assert "torch.nn.MaxPool2d" in done.stdout
    assert done.stderr.startswith("One of them in full: ptools inspect torch.")


def test_names_of_python_itself(ptools: Run) -> None:
    assert ptools("inspect", "str.join").stdout.startswith(
        "builtins.str.join  (method)\n\njoin(iterable, /)\n"
    )
    found = [one["name"] for one in ptools("inspect", "max", "--json").document["found"]]
    assert {"torch.max", "builtins.max"} <= {*found}


@pytest.mark.slow
def test_a_bare_name_of_torchvision(ptools: Run) -> None:
    assert ptools("inspect", "Resize").stdout.startswith("torchvision.transforms.v2.Resize")
    assert "torchvision.models.resnet18" in ptools("inspect", "resnet18").stdout


# -- lists, searches, trees ---------------------------------------------------------------------------


def test_a_module_in_groups(ptools: Run) -> None:
    done = ptools("inspect", "torch.optim")
    lines = done.stdout.splitlines()
    heads = [line for line in lines if line and line[0] != " " and "(" in line]
    assert [head.split(" (")[0] for head in heads[1:]] == [
        "Subpackages and modules", "Classes", "Functions",
    ]  # fmt: skip
    assert "  Adam        Implements Adam algorithm." in lines
    assert "  lr_scheduler  Learning Rate Scheduler." in lines
    assert "more: add --all, or --grep WORD" in done.stderr


def test_the_basic_names_are_those_that_others_name(ptools: Run) -> None:
    shown = ptools("inspect", "torch.nn").stdout
    assert all(f"\n  {name} " in shown for name in ("Linear", "Conv2d", "Module", "Dropout"))
    shown = ptools("inspect", "torch").stdout
    assert all(f"\n  {name} " in shown for name in ("Tensor", "tensor", "arange", "randn"))


def test_a_lazy_package_is_not_imported_whole(ptools: Run) -> None:
    Path("lazy").mkdir()
    Path("lazy/part.py").write_text('"""A part."""\nopen("ran", "w").close()\n')
    Path("lazy/__init__.py").write_text(
        "import importlib\n\n\ndef __getattr__(name):\n"
        "    return importlib.import_module(f'lazy.{name}')\n"
    )
    groups = ptools("inspect", "lazy", "--json").document["groups"]
    assert groups == {"subpackages": [{"name": "part", "summary": "A part."}]}
    assert not Path("ran").exists()


def test_private_and_foreign_names_are_hidden(ptools: Run) -> None:
    Path("net.py").write_text(NET)
    groups = ptools("inspect", "net.py", "--json").document["groups"]
    assert groups == {
        "classes": [{"name": "Net", "summary": "A small net."}],
        "constants": [{"name": "WIDTH", "summary": "3"}],
    }
    every = ptools("inspect", "net.py", "--all", "--json").document["groups"]
    assert {"nn", "os"} <= {one["name"] for one in every["subpackages"]}
    shown = ptools("inspect", "torch.nn.functional", "--json").document["groups"]
    names = {one["name"] for some in shown.values() for one in some}
    assert {"relu", "conv2d", "cross_entropy"} <= names
    assert not {"math", "warnings", "Callable", "Optional", "TYPE_CHECKING", "_Reduction"} & names


def test_every_public_name_of_torch_nn_has_a_summary(ptools: Run) -> None:
    groups = ptools("inspect", "torch.nn", "--json").document["groups"]
    assert len(groups["classes"]) > 150
    assert not [one["name"] for one in groups["classes"] if not one["summary"]]


def test_all_of_a_card_and_of_a_value(ptools: Run) -> None:
    short = ptools("inspect", "numpy.genfromtxt").stdout
    whole = ptools("inspect", "numpy.genfromtxt", "--all").stdout
    assert len(short.splitlines()) <= 40 < len(whole.splitlines())
    assert len(ptools("inspect", "--eval", "list(range(5000))", "--all").stdout.splitlines()) > 200


def test_all_has_every_line(ptools: Run) -> None:
    lines = ptools("inspect", "torch.linalg", "--all").stdout.splitlines()
    assert len(lines) > 45
    assert sum(line.startswith("  svd ") for line in lines) == 1
    assert "Methods (" in ptools("inspect", "torch.nn.Conv2d", "--all").stdout


def test_a_search_is_ranked(ptools: Run) -> None:
    found = ptools("inspect", "torch.nn", "--grep", "pool", "--json").document["found"]
    names = [one["name"] for one in found]
    assert "torch.nn.MaxPool2d" in names[:15]
    assert "torch.nn.functional.max_pool2d" in names
    assert len(names) == len({*names})
    inside = ["logits" in one["name"].rpartition(".")[2].lower() for one in
              ptools("inspect", "torch.nn", "--grep", "logits", "--json").document["found"]]  # fmt: skip
    assert any(inside)
    assert inside == sorted(inside, reverse=True)  # names first, then summaries
    assert not all(inside)
    names = [one["name"] for one in
             ptools("inspect", "torch.nn", "--grep", "relu", "--json").document["found"]]  # fmt: skip
    assert names[0] == "torch.nn.ReLU"
    only = ptools("inspect", "torch.nn", "--grep", "average pooling 3D", "--json").document["found"]
    assert only
    assert all("3d" in (one["name"] + one["summary"]).lower() for one in only)


def test_a_search_that_finds_nothing(ptools: Run) -> None:
    done = ptools("inspect", "json", "--grep", "zebra")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "nothing in json has 'zebra'; --depth 4 searches deeper\n"


def test_a_tree_of_modules(ptools: Run) -> None:
    lines = ptools("inspect", "torch.nn", "--tree", "--depth", "2").stdout.splitlines()
    assert lines[0].startswith("torch.nn ")
    assert any(line.startswith("├─ functional ") and " functions, " in line for line in lines)
    assert any(line.startswith("│  ├─ conv ") for line in lines)
    shallow = ptools("inspect", "torch.nn", "--tree").stdout.splitlines()
    assert len(shallow) <= 40
    assert not any(line.startswith("│  ") for line in shallow)
    found = ptools("inspect", "torch.nn", "--tree", "--depth", "1", "--json").document
    assert {"functional", "modules", "init"} <= {one["name"] for one in found["below"]}


def test_the_tree_of_a_class_is_its_bases(ptools: Run) -> None:
    found = ptools("inspect", "torch.nn.Conv2d", "--tree", "--json").document
    assert [one["name"] for one in found["below"]] == ["Conv2d", "_ConvNd", "Module"]
    assert [one["name"] for one in found["below"][0]["below"]] == ["forward"]


# -- the user's own -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.py:Net", "net.Net", "net:Net", "folder/../net.py:Net"])
def test_modules_of_mine(name: str, ptools: Run) -> None:
    Path("net.py").write_text(NET)
    Path("folder").mkdir()
    sys.modules.pop("net", None)
    found = ptools("inspect", name, "--json").document
    assert found["signatures"] == ["Net(width: int = 8)"]
    assert found["parameters"] == [
        {"name": "width", "type": "int", "text": "channels of the input"}
    ]
    assert found["forward"] == "forward(x)"
    assert found["origin"]["shown"] == "net.py:8"
    assert not Path("__pycache__").exists()


def test_an_object_whose_attributes_raise(ptools: Run) -> None:
    Path("net.py").write_text(
        "class Odd:\n    def __getattr__(self, name):\n        raise KeyError(name)\n\n\nodd = Odd()\n"
    )
    done = ptools("inspect", "net.py:odd")
    assert done.exit_code == 0
    assert done.stdout.startswith("net.py:odd  (Odd)\n")


def test_an_attribute_of_mine_that_is_not_there(ptools: Run) -> None:
    Path("net.py").write_text(NET)
    done = ptools("inspect", "net.py:Nett")
    assert (
        done.stderr == "Error: net.py has no 'Nett': did you mean Net? ptools inspect net.py:Net\n"
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import nosuchlib",
            "importing mine failed: it needs the module 'nosuchlib'; install that first.",
        ),
        ("x = (", "importing mine failed: SyntaxError: '(' was never closed (mine.py, line 1)"),
        ("import sys\nsys.exit(3)", "importing mine failed: SystemExit: 3 (mine.py:2)"),
        (
            "print('hello')\n1 / 0",
            "importing mine failed: ZeroDivisionError: division by zero (mine.py:2)",
        ),
    ],
)
def test_an_import_that_fails_is_one_line(code: str, said: str, ptools: Run) -> None:
    Path("mine.py").write_text(code)
    done = ptools("inspect", "mine.thing")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.replace("hello\n", "") == f"Error: {said}\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([""], "the target is empty; name an object or a file: torch.nn.Conv2d."),
        (["1", "--eval", "--depth", "2"], "--depth is not for an expression; leave it out."),
        (["nosuch.py:X"], "nosuch.py does not exist; write path/to/net.py:Net."),
        (
            ["torch.nn.Linear", "torch.nn.Conv2d"],
            "'torch.nn.Linear' is no file; two of them are compared",
        ),
        (["json", "--stats"], "--stats is not for names, but for files of weights; leave it out."),
        (["torch.float32", "--tree"], "torch.float32 has nothing inside; --tree is for modules"),
        (["torch.rand(2, 3)"], "add --eval: ptools inspect --eval 'torch.rand(2, 3)'"),
        (
            ["torch.rand(2,", "3)"],
            "an expression goes in quotes, and it runs code, so add --eval: ptools",
        ),
        (["1 +", "--eval"], "'1 +' is no Python expression: invalid syntax."),
        (["1", "--eval", "--stats"], "--stats is not for an expression; leave it out."),
        (["json", "--force"], "--force is for --png; leave it out."),
        (["json", "--depth", "1"], "--depth is for --tree, --grep and files; leave it out."),
        (["json", "--full", "--tree"], "--tree and --full are two answers; ask for one of them."),
        (["json", "--depth", "-1"], "-1 is not in the range 0 to 20."),
    ],
)
def test_wrong_usage(args: list[str], said: str, ptools: Run) -> None:
    done = ptools("inspect", *args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -- sources and help ---------------------------------------------------------------------------------


def test_the_source_with_file_and_line(ptools: Run) -> None:
    Path("net.py").write_text(NET)
    done = ptools("inspect", "net.py:Net.forward", "--source")
    assert done.stdout == (
        '# net.py:19\n    def forward(self, x):\n        """Run it."""\n        return self.fc(x)\n'
    )
    found = ptools("inspect", "net.py:Net.forward", "--source", "--json").document
    assert (found["shown"], found["line"]) == ("net.py:19", 19)
    done = ptools("inspect", "torch.zeros", "--source")
    assert done.exit_code == 1
    assert "torch.zeros has no Python source: it is compiled, called as zeros(*size" in done.stderr


def test_the_whole_help_text(ptools: Run) -> None:
    done = ptools("inspect", "torch.nn.Linear", "--full")
    assert done.stdout.startswith("torch.nn.Linear\n    Linear(in_features: int, ")
    assert len(done.stdout.splitlines()) > 200
    assert "\b" not in done.stdout


def terminal(*args: str, **env: str) -> str:
    """Run ptools in a terminal of 80 columns and return what it showed."""
    import pty

    ours, theirs = pty.openpty()
    environ = {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color", **env}
    environ = {name: value for name, value in environ.items() if value}
    command = [sys.executable, "-m", "ptools", *args]
    text = b""
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environ):
        os.close(theirs)
        try:
            while part := os.read(ours, 65536):
                text += part
        except OSError:  # EIO is the end
            pass
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


def test_colours_on_a_terminal_only(ptools: Run) -> None:
    source = terminal("inspect", "json.loads", "--source", NO_COLOR="")
    assert "\x1b[" in source
    assert "def" in source
    plain_text = terminal("inspect", "json.loads", "--source", NO_COLOR="1")
    assert "\x1b[" not in plain_text
    assert plain_text.startswith("# json/__init__.py:")
    assert "\x1b[1mjson.loads\x1b[0m  (function)" in terminal("inspect", "json.loads", NO_COLOR="")
    assert "\x1b" not in ptools("inspect", "json.loads", "--source").stdout


# -- expressions --------------------------------------------------------------------------------------


def test_a_tensor(ptools: Run) -> None:
    done = ptools("inspect", "--eval", "torch.arange(6.).reshape(2, 3).t()", "--json").document
    assert done["type"] == "torch.Tensor"
    assert done["elements"] == [[0, 3], [1, 4], [2, 5]]
    assert done["facts"] == {
        "dtype": "float32", "shape": [3, 2], "strides": [1, 3], "device": "cpu", "requires_grad": False,
        "grad_fn": None, "leaf": True, "elements": 6, "bytes": 24, "contiguous": False,
        "min": 0.0, "max": 5.0,
    }  # fmt: skip
    shown = ptools("inspect", "--eval", "nn.Linear(2, 3)(torch.ones(1, 2))").stdout
    for line in ("shape          1x3", "strides        3, 1", "requires_grad  yes",
                 "grad_fn        AddmmBackward0", "leaf           no", "bytes          12"):  # fmt: skip
        assert f"\n{line}\n" in shown


@pytest.mark.parametrize(
    ("expression", "facts"),
    [
        ("torch.tensor([1., float('nan'), 3.])", {"min": 1.0, "max": 3.0, "nan": 1}),
        ("torch.rand(4, 4)[0]", {"bytes": 16, "storage bytes": 64}),
        ("torch.empty(10**12, device='meta')", {"device": "meta", "bytes": 4 * 10**12}),
        ("torch.eye(2).to_sparse()", {"layout": "sparse_coo", "strides": None}),
        ("torch.tensor(2+1j)", {"dtype": "complex64", "shape": []}),
        ("torch.zeros(0, 3)", {"elements": 0}),
        ("torch.ones(2, dtype=torch.float8_e4m3fn)", {"dtype": "float8_e4m3fn", "bytes": 2}),
        ("nn.Conv2d(1, 2, 3)", {"parameters": 20, "training": True}),
        ("np.eye(3, dtype='f4')", {"dtype": "float32", "strides": [3, 1], "bytes": 36}),
        ("[x * 2 for x in range(3)]", {"length": 3}),
    ],
)
def test_other_values(expression: str, facts: dict[str, object], ptools: Run) -> None:
    found = ptools("inspect", "--eval", expression, "--json").document
    assert facts.items() <= found["facts"].items()
    assert ptools("inspect", "--eval", expression).exit_code == 0


def test_a_long_value_is_cut_and_an_expression_that_fails_is_one_line(ptools: Run) -> None:
    done = ptools("inspect", "--eval", "'\\n'.join(map(str, range(1000)))")
    assert done.exit_code == 0
    done = ptools("inspect", "--eval", "list(range(5000))")
    assert len(done.stdout.splitlines()) <= 40
    done = ptools("inspect", "--eval", "torch.ones(2) @ torch.ones(3)")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: 'torch.ones(2) @ torch.ones(3)' failed: RuntimeError: ")
    done = ptools("inspect", "--eval", "print('out') or nosuchname")
    assert (done.exit_code, done.stdout) == (1, "")


def test_nothing_is_evaluated_without_eval(ptools: Run) -> None:
    for text in ("__import__('os').mkdir('ran')", "open('ran', 'w')"):
        assert ptools("inspect", text).exit_code in (1, 2)
    assert not list(Path().iterdir())


# -- text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"(N, C_{\text{in}}, H, W)", "(N, C_in, H, W)"),
        (r"\frac{1}{\text{in\_features}}", "1 / in_features"),
        (r"\left\lfloor\frac{L - 1}{2} + 1\right\rfloor", "floor((L - 1) / 2 + 1)"),
        (r"\mathcal{U}(-\sqrt{k}, \sqrt{k})", "U(-sqrt(k), sqrt(k))"),
        (r"\sum_{i=0}^{n-1} x_i^2", "sum_(i=0)^(n-1) x_i^2"),
        (r"a \times b \leq \infty", "a * b <= inf"),
        (r"\{0, 1\}", "{0, 1}"),
        (r"\alpha \cdot \beta_{1}", "alpha * beta_1"),
    ],
)
def test_formulas(latex: str, text: str) -> None:
    assert formula(latex) == text


def test_marks_of_docstrings() -> None:
    assert plain(":class:`~torch.nn.Conv2d` and :attr:`bias`") == "Conv2d and bias"
    assert plain("``x`` of `a page <https://x.org>`_, **bold**, `cross-correlation`_") == (
        "x of a page, bold, cross-correlation"
    )
    assert plain(":ref:`a title<somewhere>`") == "a title"


def test_json_is_one_document_for_everything(ptools: Run) -> None:
    for args in (["relu"], ["json"], ["json.loads"], ["json", "--tree"], ["json.loads", "--full"],
                 ["json", "--grep", "load"], ["json.loads", "--source"]):  # fmt: skip
        assert isinstance(json.loads(ptools("inspect", *args, "--json").stdout), dict)
