"""What is installed, read as text: dist-info folders and version.py. Nothing is imported.

    Package              one distribution: name, release, local tag, build, what it asks of torch
    find(name, paths)    every copy of it on a list of folders, the one Python would import first
    shadows(...)         a torch.py of your own that hides PyTorch
    leftovers(...)       `~orch` folders that an interrupted pip leaves behind
    satisfies(v, spec)   does release v satisfy `==2.9.1`, `>=2.14.0,<3`, `~=2.9`, `!=2.0.*`?

A wheel from the default index says plain `2.15.0` in its metadata and `2.15.0+cu132` in version.py;
a wheel from PyTorch's own index has the tag in both. The files are what Python runs: they win.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Package:
    """One installed distribution: what its metadata says and what its files say."""

    name: str
    folder: str  # the sys.path entry it lives in
    info: str  # the dist-info folder's name
    metadata: str  # version in METADATA, with its local tag where it has one
    files: str = ""  # __version__ in version.py, "" where there is none
    build: dict[str, str | None] = field(default_factory=dict)  # cuda, hip, xpu of torch/version.py
    needs: dict[str, str] = field(default_factory=dict)  # requirement's name -> specifier
    installer: str = ""  # pip, uv, conda
    editable: bool = False
    missing: tuple[str, ...] = ()  # files without which it cannot be imported

    @property
    def version(self) -> str:
        """The version of the files, or the metadata's where the files do not say."""
        return self.files or self.metadata

    @property
    def release(self) -> str:
        """The version without its local tag: `2.15.0`."""
        return self.version.partition("+")[0]

    @property
    def nightly(self) -> bool:
        """Is it a wheel of PyTorch's nightly index, `2.16.0.dev20261101`?"""
        return ".dev" in self.release

    @property
    def homemade(self) -> bool:
        """Was it built here, editable or from source (`2.16.0a0+git1234`)? No index has it."""
        return self.editable or bool(re.search("[0-9]a[0-9]", self.release))

    @property
    def tag(self) -> str:
        """The build: `cu132`, `rocm6.4`, `xpu`, `cpu`; "" where nothing says."""
        local = self.version.partition("+")[2] or self.metadata.partition("+")[2]
        if re.fullmatch(r"cpu|xpu|cu[0-9]+|rocm[0-9.]+", local):
            return local
        if not self.build:
            return ""
        if self.build.get("cuda"):
            return "cu" + str(self.build["cuda"]).replace(".", "")
        if self.build.get("hip"):
            return "rocm" + ".".join(str(self.build["hip"]).split(".")[:2])
        return "xpu" if self.build.get("xpu") else "cpu"


def find(name: str, paths: Sequence[str]) -> list[Package]:
    """Return every copy of a distribution, in the order in which Python would find them."""
    found = []
    for folder in _folders(paths):
        infos = [entry for entry in _entries(folder) if _is_info(entry, name)]
        for info in sorted(infos, reverse=True) or [""]:  # a source tree has files, no metadata
            package = _read(name, folder, info)
            if package.metadata or package.files:
                found.append(package)
    return found


def shadows(name: str, folder: str) -> str:
    """Return the file or package in `folder` that hides the package `name`, or ""."""
    for path in (Path(folder, f"{name}.py"), Path(folder, name, "__init__.py")):
        if path.is_file() and not Path(folder, name, "version.py").is_file():
            return str(path if path.name == f"{name}.py" else path.parent)
    return ""


def leftovers(name: str, paths: Sequence[str]) -> list[str]:
    """Return what an interrupted pip left behind: `~orch`, `~orch-2.9.1.dist-info`."""
    pattern = re.compile(rf"~+{name[1:]}(-.*)?")
    return [
        str(Path(folder, entry))
        for folder in _folders(paths)
        for entry in sorted(_entries(folder))
        if pattern.fullmatch(entry)
    ]


def satisfies(version: str, specifier: str) -> bool:
    """Say whether a release satisfies a specifier; local tags (`+cu132`) do not count.

    A clause that is no comparison of release numbers counts as satisfied: it is not ours to judge.
    """
    return all(_holds(version, clause.strip()) for clause in specifier.split(","))


def _holds(version: str, clause: str) -> bool:
    exact = re.fullmatch(r"===?\s*([0-9.]+[a-z][^*]*)", clause.lower())
    if exact:  # a pre-release: nightlies differ in their date alone
        return exact[1].partition("+")[0] == version.lower().partition("+")[0]
    ours = _numbers(version)
    match = re.fullmatch(r"(===|==|!=|>=|<=|~=|>|<)\s*v?([0-9.]+?)(\.\*)?(\+\S+)?", clause)
    if not match or not ours:
        return True
    sign, theirs = match[1], _numbers(match[2])
    width = len(theirs) if match[3] else max(len(ours), len(theirs))
    left, right = ((part + (0,) * width)[:width] for part in (ours, theirs))
    return {
        "~=": left >= right and left[: len(theirs) - 1] == theirs[:-1],
        "==": left == right,
        "===": left == right,
        "!=": left != right,
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
    }[sign]


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"v?([0-9]+(\.[0-9]+)*)", version.strip())
    return tuple(map(int, match[1].split("."))) if match else ()


def _folders(paths: Sequence[str]) -> list[str]:
    """Return the folders among `paths`, each once (lib64 is often a link to lib)."""
    real: dict[str, str] = {}
    for path in paths:
        real.setdefault(_real(path or "."), path or ".")
    return [path for path in real.values() if Path(path).is_dir()]


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except OSError:  # a relative path, and the working folder was removed under us
        return path


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names only; half the cost of iterdir
    except OSError:
        return []


def _is_info(entry: str, name: str) -> bool:
    stem, dot, kind = entry.lower().rpartition(".")
    return bool(dot) and kind in ("dist-info", "egg-info") and stem.split("-")[0] == name


def _read(name: str, folder: str, info: str) -> Package:
    base = Path(folder, info or f"{name}.dist-info")
    header = _text(base / "METADATA") or _text(base / "PKG-INFO") or _text(base)
    header = header.replace("\r\n", "\n").partition("\n\n")[0]
    editable = re.search(r'"editable"\s*:\s*true', _text(base / "direct_url.json")) is not None
    code = _text(Path(folder, name, "version.py"))
    code = code or _text(_source(base) / name / "version.py") if editable else code
    version = re.search(r"^Version:\s*(\S+)", header, re.MULTILINE)
    return Package(
        name=name,
        folder=folder,
        info=info,
        metadata=version[1] if version else "",
        files=_literal(code, "__version__") or "",
        build=_build(code),
        needs=_needs(header),
        installer=_text(base / "INSTALLER").strip(),
        editable=editable,
        missing=() if editable else _missing(name, folder),
    )


def _source(base: Path) -> Path:
    """Return the folder of an editable install's source; its own files are where Python imports."""
    from urllib.parse import unquote

    url = re.search(r'"url"\s*:\s*"file://([^"]+)"', _text(base / "direct_url.json"))
    return Path(unquote(url[1])) if url else base


def _build(code: str) -> dict[str, str | None]:
    """Return the toolkits torch was built with; {} for a version.py that does not say."""
    if not re.search(r"^cuda\b", code, re.MULTILINE):
        return {}
    return {key: _literal(code, key) for key in ("cuda", "hip", "xpu")}


def _missing(name: str, folder: str) -> tuple[str, ...]:
    """Return the files a half-removed package lacks. The compiled part of torch is `_C.*`."""
    package = Path(folder, name)
    lacks = [f for f in ("__init__.py", "version.py") if not (package / f).is_file()]
    if name == "torch" and not any(entry.startswith("_C.") for entry in _entries(str(package))):
        lacks.append("_C")
    return tuple(f"{name}/{f}" for f in lacks)


def _needs(header: str) -> dict[str, str]:
    """Return the unconditional requirements: `Requires-Dist: torch (==2.9.1)` or `torch==2.9.1`."""
    found = {}
    for line in re.findall(r"^Requires-Dist:\s*(.+)$", header, re.MULTILINE):
        match = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*\(?([^();]*)\)?\s*", line)
        if match:
            found[re.sub(r"[-_.]+", "-", match[1].lower())] = match[2].strip()
    return found


def _literal(code: str, name: str) -> str | None:
    """Return a string assigned in Python text: `cuda: Optional[str] = '13.2'`; None else."""
    match = re.search(rf"^{name}\s*(?::[^=\n]+)?=\s*['\"]([^'\"\n]*)['\"]", code, re.MULTILINE)
    return match[1] if match else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
