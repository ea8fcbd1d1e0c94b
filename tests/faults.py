"""Ways a plugin can be broken, each a real distribution in a folder. Used by test_isolation.py.

FAULTS: name -> (write it into a site folder, what its error must say when it is called).
None: nothing can be called by that name, or calling it cannot be survived in process.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ptools.testing import install_distribution

GOOD = '"""Do good."""\nimport click\n\n@click.command()\ndef command():\n    click.echo("good")\n'
Write = Callable[[Path], object]


def _source(name: str, text: str) -> Write:
    return lambda site: install_distribution(site, name, text)


def _value(name: str, value: str) -> Write:
    return lambda site: install_distribution(site, name, GOOD, value)


def _entry_points(name: str, content: bytes) -> Write:
    def write(site: Path) -> None:
        info = install_distribution(site, name, GOOD)
        (info / "entry_points.txt").write_bytes(content)

    return write


def _foreign_not_utf8(site: Path) -> None:
    info = install_distribution(site, "foreign", GOOD)
    (info / "entry_points.txt").write_bytes(b"[console_scripts]\n\xff\xfe = x:y\n")


def _no_metadata(site: Path) -> None:
    info = install_distribution(site, "bare", GOOD)
    (info / "METADATA").unlink()


def _symlink_loop(site: Path) -> None:
    info = install_distribution(site, "loop", GOOD)
    (info / "entry_points.txt").unlink()
    (info / "entry_points.txt").symlink_to("entry_points.txt")


def _huge(site: Path) -> None:
    info = install_distribution(site, "huge", GOOD)
    with (info / "entry_points.txt").open("ab") as file:
        file.truncate(100 * 1024 * 1024)  # a hole: 100 MB to read, nothing on the disk


def _pipe(site: Path) -> None:
    import os

    info = install_distribution(site, "pipe", GOOD)
    (info / "entry_points.txt").unlink()
    os.mkfifo(info / "entry_points.txt")


def _folder(site: Path) -> None:
    info = install_distribution(site, "folder", GOOD)
    (info / "entry_points.txt").unlink()
    (info / "entry_points.txt").mkdir()


def _builtin(site: Path) -> None:
    install_distribution(site, "shapes", GOOD.replace("good", "hijacked"), distribution="thief")


RECURSION = '"""Fall."""\ndef fall():\n    fall()\nfall()\n'
DEPENDENCY = '"""Need."""\nimport a_module_that_nobody_has\n'

FAULTS: dict[str, tuple[Write, str | None]] = {
    "dependency": (_source("dependency", DEPENDENCY), "No module named 'a_module_that_nobody_has'"),
    "syntax": (_source("syntax", "def (:\n"), "SyntaxError"),
    "exits": (_source("exits", '"""Exit."""\nimport sys\nsys.exit(3)\n'), "SystemExit: 3"),
    "dies": (_source("dies", '"""Die."""\nimport os\nos._exit(9)\n'), None),
    "attribute": (_value("attribute", "ptools_attribute:nothing"), "no attribute 'nothing'"),
    "gone": (lambda site: install_distribution(site, "gone", None), "its files are gone"),
    "no-command": (_source("no-command", '"""No."""\ncommand = 7\n'), "yields a int"),
    "builtin": (_builtin, None),
    "sleeps": (_source("sleeps", '"""Sleep."""\nimport time\ntime.sleep(30)\n'), None),
    "endless": (_source("endless", '"""Never return."""\nwhile True: pass\n'), None),
    "prints": (_source("prints", "print('polluted', flush=True)\n" + GOOD), None),
    "reference": (_value("reference", "::not a reference::"), "is not of the form"),
    "garbage": (_entry_points("garbage", bytes(range(256)) * 9), None),
    "not-utf8": (_entry_points("not-utf8", b"[ptools.plugins]\nnot-utf8 = \xff:x\n"), None),
    "foreign": (_foreign_not_utf8, None),
    "bare": (_no_metadata, None),
    "loop": (_symlink_loop, None),
    "recursion": (_source("recursion", RECURSION), "RecursionError"),
    "huge": (_huge, None),
    "pipe": (_pipe, None),
    "folder": (_folder, None),
    "base-exception": (
        _source(
            "base-exception", '"""Raise."""\nclass Odd(BaseException): pass\nraise Odd("odd")\n'
        ),
        "Odd: odd",
    ),
    "no-equals": (_entry_points("no-equals", b"[ptools.plugins]\nno equals sign\n"), None),
    "bad-name": (
        lambda site: install_distribution(site, "a b\x1b[31m", GOOD, distribution="bad-name"),
        None,
    ),
}
