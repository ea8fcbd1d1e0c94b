"""ptools list: what can be named, and where it comes from."""

from __future__ import annotations

from ptools.testing import Install, Run

MODEL = '"""Mine."""\n\ndef tiny(classes, shape):\n    """A tiny model."""\n'


def test_builtin_names(ptools: Run) -> None:
    rows = ptools("list", "models", "--json").document
    assert [row["name"] for row in rows] == ["cnn", "cnn-bn", "mlp"]
    assert all(row["origin"].startswith("ptools ") and row["what"] for row in rows)
    assert [row["name"] for row in ptools("list", "datasets", "--json").document] == ["digits"]


def test_third_party_names_with_their_origin(install: Install, ptools: Run) -> None:
    install("tiny", MODEL, "ptools_tiny:tiny", group="ptools.models")
    assert "tiny    ptools-tiny 1.0  A tiny model." in ptools("list", "models").stdout


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
