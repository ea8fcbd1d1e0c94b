"""What is wrong with the installation: torch itself, its companions, its files.

Everything here but `imports` is read from metadata in milliseconds; `imports` explains what the
child process met when it really imported torch and torchvision.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ptools_plugins.device.findings import Facts, Finding
from ptools_plugins.device.import_errors import explain
from ptools_plugins.device.known import INDEX, LAST_ON_INTEL_MACS, PYTHON
from ptools_plugins.device.packages import Package, satisfies
from ptools_plugins.device.repairs import index, install, vision_for

broken = partial(Finding, level="broken")
warning = partial(Finding, level="warning")
note = partial(Finding, level="note")


def check(facts: Facts) -> Iterator[Finding]:
    """Yield what is wrong with the installation, worst first."""
    if not facts.torch:
        yield from absent(facts)
    else:
        yield from files(facts, facts.torch)
        for companion in facts.companions:
            yield from pair(facts, facts.torch, companion)
        yield from imports(facts, facts.torch)
    yield from strays(facts)


def absent(facts: Facts) -> Iterator[Finding]:
    """Yield why there is no torch: no wheel exists for this Python, or nobody installed it."""
    process = facts.machine.process
    if process.bits == 32:
        reason = "torch has no wheel for a 32-bit Python; install a 64-bit one"
        yield broken(code="python-no-wheel", text=reason, command=f"uv python install {PYTHON}")
    elif process.implementation != "cpython":
        reason = f"torch has no wheel for {process.implementation}; it needs CPython"
        yield broken(code="python-no-wheel", text=reason, command=f"uv python install {PYTHON}")
    elif process.musl:
        reason = "torch has no wheel for musl (Alpine Linux); use an image with glibc"
        command = f"docker run -it python:{PYTHON}-slim"
        yield broken(code="python-no-wheel", text=reason, command=command)
    elif process.system == "Darwin" and process.machine == "x86_64" and not process.rosetta:
        reason = "torch is not installed; 2.2 is the last one with a wheel for Intel Macs"
        command = install(*LAST_ON_INTEL_MACS, by=facts.installer)
        yield broken(code="torch-missing", text=reason, command=command)
    else:
        reason = f"torch is not installed for Python {process.python}"
        command = install("torch", "torchvision", by=facts.installer)
        yield broken(code="torch-missing", text=reason, command=command)


def files(facts: Facts, torch: Package) -> Iterator[Finding]:
    """Yield what is wrong with torch's own files."""
    twins = [other for other in facts.torches if other.folder == torch.folder]
    again = reinstall(torch, facts)
    if torch.missing:
        lost = ", ".join(torch.missing)
        reason = f"torch {torch.metadata} is half removed: {lost} missing"
        yield broken(code="torch-incomplete", text=reason, command=again)
    elif len(twins) > 1:
        yield twice(twins, facts)
    elif torn(torch):
        reason = f"torch's metadata says {torch.metadata}, but its files are {torch.files}"
        yield broken(code="torch-torn", text=reason, command=again)
    yield from copies(facts, torch)


def torn(torch: Package) -> bool:
    """Say whether metadata and files are of two releases. An editable source may move on."""
    said = torch.metadata.partition("+")[0]
    return bool(torch.files and said) and said != torch.release and not torch.editable


def copies(facts: Facts, torch: Package) -> Iterator[Finding]:
    """Yield installed copies that Python passes over, as in a venv over the system's packages.

    A note without a command: an uninstall would take the first copy, the one that is in use.
    """
    for other in facts.torches:
        installed = all(p.info and not p.editable for p in (torch, other))
        if installed and other.folder != torch.folder and other.version != torch.version:
            reason = f"two copies of torch: Python imports {torch.version} from {torch.folder}"
            reason += f", and not {other.version} in {other.folder}"
            yield note(code="torch-two-folders", text=reason)


def twice(twins: list[Package], facts: Facts) -> Finding:
    """Return the finding for two dist-info folders beside one set of files."""
    living = next((t for t in twins if t.metadata.partition("+")[0] == t.release), twins[0])
    stale = [twin for twin in twins if twin is not living]
    versions = " and ".join(twin.metadata for twin in twins)
    remove = " ".join(f"'{Path(twin.folder, twin.info)}'" for twin in stale)
    return broken(
        code="torch-twice",
        text=f"torch is installed twice in one folder, {versions}: an upgrade was torn",
        command=" && ".join(filter(None, [f"rm -r {remove}", reinstall(living, facts)])),
    )


def pair(facts: Facts, torch: Package, other: Package) -> Iterator[Finding]:
    """Yield whether torchvision or torchaudio was built for another torch, or another CUDA."""
    asked = other.needs.get("torch", "")
    if not satisfies(torch.release, asked):
        wanted = asked.removeprefix("==") if asked.count("=") == 2 else asked
        spec = vision_for(torch.release) if other.name == "torchvision" else ""
        yield broken(
            code=f"{other.name}-mismatch",
            text=f"{other.name} {other.version} was built for torch {wanted}, "
            f"but torch {torch.version} is installed",
            command=_matching(spec, torch, other, facts),
        )
    elif torch.tag and other.tag and _toolkit(torch.tag) != _toolkit(other.tag):
        yield _tags(torch, other, facts)


def _matching(spec: str, torch: Package, other: Package, facts: Facts) -> str:
    """Return the command for a companion that fits this torch and leaves it as it is."""
    by, tag = facts.installer, index(torch)
    if torch.homemade:
        return ""  # any wheel would replace torch by a release: build the companion here, too
    if torch.nightly:
        return install("--upgrade", "torch", other.name, by=by, tag=tag)  # of one night
    if spec or by == "conda":
        return install(spec or other.name, by=by, tag=tag)
    if other.nightly:  # to pip --upgrade it is newer than any release
        return install(other.name, by=by, tag=tag, force=True, deps=False)
    command = install("--upgrade", other.name, by=by)
    return command + (f" --extra-index-url {INDEX}/{tag}" if tag else "")


def _tags(torch: Package, other: Package, facts: Facts) -> Finding:
    """Return the finding for two builds; only `+cpu` beside a GPU torch still works, on the CPU."""
    same = other.nightly == torch.nightly
    spec = f"{other.name}=={other.release}" if same else other.name
    mild = other.tag == "cpu"
    after = "its operators will not run on the GPU" if mild else "its operators cannot load"
    return Finding(
        level="warning" if mild else "broken",
        code=f"{other.name}-build",
        text=f"{other.name} is a {other.tag} build beside a {torch.tag} torch: {after}",
        command=install(spec, by=facts.installer, tag=index(torch), force=True, deps=False),
    )


def _toolkit(tag: str) -> str:
    """Return what torchvision itself compares: cpu, xpu, rocm, or CUDA's major (cu126: cu12)."""
    return tag[:4] if tag[:2] == "cu" and tag[2:].isdigit() else tag.rstrip("0123456789.")


def imports(facts: Facts, torch: Package) -> Iterator[Finding]:
    """Yield why an import failed, and what an import complained about."""
    for name in ("torch", "torchvision"):
        failure = facts.view.failed.get(name)
        package = torch if name == "torch" else facts.companion(name)
        if failure and package and not facts.shadows:
            yield explain(name, failure, facts, again=reinstall(package, facts))
    yield from numpy(facts)


def numpy(facts: Facts) -> Iterator[Finding]:
    """Yield torch's complaint on stderr that it cannot use NumPy: the import itself succeeds."""
    said = facts.view.stderr if facts.view.torch else ""
    if "compiled using NumPy 1.x" in said:
        reason = "torch was compiled for NumPy 1.x, and NumPy 2 is installed: no exchange of arrays"
        command = install("numpy<2", by=facts.installer)
        yield warning(code="numpy-abi", text=reason, command=command)
    elif "No module named 'numpy'" in said:
        reason = "NumPy is not installed: torch works, without from_numpy and Tensor.numpy"
        command = install("numpy", by=facts.installer)
        yield warning(code="numpy-missing", text=reason, command=command)


def strays(facts: Facts) -> Iterator[Finding]:
    """Yield files that lie in the way: a torch.py of your own, what pip left behind."""
    for path in facts.shadows:
        name = Path(path)
        reason = f"{path} hides PyTorch from scripts started in this folder"
        command = f"mv '{path}' '{name.with_name('my_' + name.name)}'"
        level = "broken" if "torch" in facts.view.failed else "warning"
        yield Finding(level=level, code="torch-shadowed", text=reason, command=command)
    if facts.leftovers:
        reason = "an interrupted pip left parts of an old torch behind"
        command = "rm -r " + " ".join(f"'{path}'" for path in facts.leftovers)
        yield warning(code="pip-leftover", text=reason, command=command)


def reinstall(package: Package, facts: Facts) -> str:
    """Return the command that installs torch again, or the pair of which torchvision is a half.

    "" for one that was built here: no index has it.
    """
    torch = facts.torch or package
    if torch.homemade or package.homemade:
        return ""
    pinned = [f"torch=={package.release}"] if package.name == "torch" else ["torch", package.name]
    return install(*pinned, by=facts.installer, tag=index(torch), force=True)
