"""ptools list: what can be named, and where it comes from."""

from __future__ import annotations

from ptools.testing import Install, Run

MODEL = '"""Mine."""\n\ndef tiny(classes, shape):\n    """A tiny model."""\n'


def test_builtin_names(ptools: Run) -> None:
    rows = ptools("list", "models", "--json").document
    ours = [row["name"] for row in rows if row["origin"].startswith("ptools ")]
    assert ours == ["cnn", "cnn-bn", "convnet", "lenet", "mlp", "mobilenet-v1"]
    assert all(row["what"] for row in rows)
    assert "digits" in [row["name"] for row in ptools("list", "datasets", "--json").document]


def test_torchvisions_models_without_importing_it(ptools: Run) -> None:
    """The names are read from its files: they are those that it lists itself."""
    import subprocess
    import sys

    from torchvision import models

    rows = ptools("list", "models", "--json").document
    names = [row["name"] for row in rows if row["origin"].startswith("torchvision ")]
    assert names == models.list_models(module=models)
    code = (
        "import sys; from ptools.cli import main; main(['list', 'models', '--grep', 'resnet18']); "
        "assert 'torchvision' not in sys.modules and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ResNet-18 from Deep Residual Learning for Image Recognition." in done.stdout


def test_a_name_of_torchvision_that_a_third_party_has_taken(install: Install, ptools: Run) -> None:
    install("resnet18", MODEL, "ptools_resnet18:tiny", group="ptools.models")
    rows = ptools("list", "models", "--grep", "resnet18", "--json").document
    assert [row["origin"] for row in rows] == ["ptools-resnet18 1.0"]


def test_third_party_names_with_their_origin(install: Install, ptools: Run) -> None:
    install("tiny", MODEL, "ptools_tiny:tiny", group="ptools.models")
    lines = ptools("list", "models").stdout.splitlines()
    assert ["tiny", "ptools-tiny", "1.0", "A", "tiny", "model."] in [line.split() for line in lines]


def test_a_builtin_name_stays_ours(install: Install, ptools: Run) -> None:
    install("cnn", MODEL, "ptools_cnn:tiny", group="ptools.models")
    rows = ptools("list", "models", "--json").document
    taken = [row for row in rows if row["origin"] == "ptools-cnn 1.0"]
    assert "built-in" in taken[0]["what"]


def test_grep(ptools: Run) -> None:
    rows = ptools("list", "models", "--grep", "BATCH", "--json").document
    assert [row["name"] for row in rows] == ["cnn-bn"]
    none = ptools("list", "models", "--grep", "nothing-like-it")
    assert (none.exit_code, none.stdout) == (0, "")
    assert "No models match" in none.stderr
    assert ptools("list", "models", "--grep", "nothing-like-it", "--json").document == []
