"""ptools regress: points from files and lines, and wrong input, each as one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptools.testing import Run
from ptools_plugins.regress import csv_files

pytestmark = pytest.mark.usefixtures("place")


def test_columns_of_a_csv_file_by_name_and_by_number(ptools: Run) -> None:
    lines = "\ufeffheight;age;weight\n\n1;7;5\n2;1;7\n3;4;9\n4;2;11\n"
    Path("people.csv").write_text(lines, encoding="utf-8")
    one = ptools("regress", "--csv", "people.csv", "--x-col", "height", "--y-col", "weight")
    two = ptools("regress", "--csv", "people.csv", "--x-col", "1", "--y-col", "3")
    assert one.exit_code == 0
    assert one.stdout == two.stdout
    assert one.stdout.startswith("weight = w*height + b")
    both = ptools("regress", "--csv", "people.csv", "--json").document
    assert both["columns"] == ["height", "age"]
    assert both["parameters"] == ["w_height", "w_age", "b"]
    assert both["closed_form"] == pytest.approx([2, 0, 3], abs=1e-9)


def test_a_file_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("1,2\n2,4\n")
    points = csv_files.read(path)
    assert points.x.tolist() == [[1], [2]]
    assert points.y.tolist() == [2, 4]
    assert (points.columns, points.target) == (["x"], "y")


def test_line_makes_the_same_points_for_the_same_seed(ptools: Run) -> None:
    args = ("regress", "--line", "2,0.5", "--points", "200", "--noise", "1", "--json")
    once, twice = ptools(*args), ptools(*args)
    assert once.stdout == twice.stdout
    assert ptools(*args, "--seed", "7").stdout != once.stdout
    assert once.document["points"] == 200
    assert once.document["closed_form"] == pytest.approx([2, 0.5], abs=0.5)


BAD_FILES = {
    "": "is empty",
    "x,y\n": "has a header and no points",
    "x,y\n1,2\n3\n": "line 3 has 1 cell, the first one has 2",
    "x,y\n1,2\n3,4,5\n": "line 3 has 3 cells",
    "x,y\n1,2\n2,abc\n": "line 3, column 2 (y): 'abc' is no number",
    "1,2\n2,1_000\n": "line 2, column 2 (col2): '1_000' is no number",
    "x,y\n1,2\n2,\n": "line 3, column 2 (y): an empty cell is no number",
    "x,y\n1,2\n\nnan,4\n": "line 4, column 1 (x): 'nan' is not finite",
    "x,y\n1,1e999\n": "line 2, column 2 (y): '1e999' is not finite",
    "1\n2\n": "has one column",
    '"a,b\n1,2\n': "check its quotes",
    "\x00,1\n2,3\n": "",
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.items(), ids=range(len(BAD_FILES)))
def test_bad_files_are_one_line(ptools: Run, content: str, message: str) -> None:
    Path("bad.csv").write_text(content)
    done = ptools("regress", "--csv", "bad.csv")
    assert done.exit_code in (1, 2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


def test_a_file_that_is_no_text(ptools: Run) -> None:
    Path("bad.csv").write_bytes(b"\xff\xfe\x00\x01")
    done = ptools("regress", "--csv", "bad.csv")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert "UTF-8" in done.stderr


WRONG = {
    "--x 1 --y 2": "1 point for 2 unknowns (w, b)",
    "--x 3,3,3 --y 1,2,3": "1 point of different x for 2 unknowns",
    "--x 1,2,3 --y 2,4,6 --model poly:3": "3 points for 4 unknowns (w1, w2, w3, b)",
    "--x 1,2 --y 1,2,3": "x has 2 values and y has 3",
    "--x 1,2 --x 1,2,3 --y 1,2": "x2 has 3 values",
    "--x 1,two --y 1,2": "--x, value 2: 'two' is no number",
    "--x 1,nan --y 1,2": "--x, value 2: nan is not finite",
    "--x 1,,2 --y 1,2,3": "--x, value 2: nothing is no number",
    "--x 1,2": "--x without --y",
    "--x 0,0 --y 1,2 --model linear-no-bias": "every x is 0",
    "--x 1e200,2 --y 1,2": "its squares overflow",
    "--x 1e12,2 --y 1,2 --model poly:2 --dtype float32": "",
    "--init 1": "--init has 1 of 2 values: give w, b",
    "--model cubic": "'cubic' is no model",
    "--model poly:99": "poly:1 to poly:12",
    "--loss mse,foo": "'foo' is none of mse, l1, huber",
    "--optimizer sdg": "Did you mean 'sgd'?",
    "--lr nan": "nan is not above 0",
    "--lr best --loss l1": "--lr best is known for mse",
    "--lr 0.1,0.2,0.3 --loss mse,l1,huber": "9 descents",
    "--epochs 10000000 --model mlp": "more than can be kept",
    "--line 2": "1 of 2 numbers",
    "--line 2,1 --x 1,2": "choose one of them",
    "--points 5": "--points needs --line",
    "--x-col 1": "--x-col needs --csv",
    "--delta 2": "--delta needs --loss huber",
    "--momentum 0.5": "--momentum needs --optimizer momentum",
    "--w-range 0,4": "--w-range needs --scan",
    "--scan --w-range 4,0": "the first must be the smaller",
    "--scan --model poly:2": "--scan is over w",
    "--scan --loss mse,l1": "one loss",
    "--compare --how manual": "--compare",
    "--json --every 2": "--every needs no --json",
    "--png picture.jpg": "must end in .png",
    "--png nowhere/a.png": "nowhere does not exist; make",
}  # fmt: skip


@pytest.mark.parametrize(("args", "message"), WRONG.items(), ids=list(WRONG))
def test_wrong_input_is_one_line(ptools: Run, args: str, message: str) -> None:
    done = ptools("regress", *args.split())
    assert done.exit_code in (1, 2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert message in line
    assert len(line) < 330


def test_a_column_that_is_not_there(ptools: Run) -> None:
    Path("a.csv").write_text("height,weight\n1,2\n3,4\n")
    for asked, message in (
        ("heigth", "Did you mean 'height'?"),
        ("3", "it has 2"),
        ("weight", "is both x and y"),
    ):
        done = ptools("regress", "--csv", "a.csv", "--x-col", asked)
        assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
