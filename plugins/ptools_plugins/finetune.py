"""Train a network that starts from somebody's weights.

FILE is any checkpoint; nothing in it is run. What surely belongs to the model is
loaded, whatever the tensors are called there, and said; a head that does not fit
is trained from scratch. What is frozen does not move, BatchNorm's statistics
included. It leaves a run folder as 'ptools train' does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from ptools import output
from ptools.errors import UsageError
from ptools.options import (
    FilePath,
    Positive,
    Whole,
    device_option,
    examples,
    force_option,
    json_option,
    seed_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ptools.data import ImageSet
    from ptools.training import Epoch, Running
    from ptools.training.frozen import Frozen
    from ptools.training.session import Run
    from ptools.training.weights import Loaded

_EPILOG = examples(
    "ptools train --model cnn --out old",
    "ptools finetune --model cnn --weights old/best.pt --epochs 2",
    "ptools finetune --model cnn --weights old/best.pt --freeze 0 --freeze 2",
)
_FEW = 3  # names or rules in one line


@click.command(epilog=_EPILOG)
@click.option("--model", required=True, help="A name of 'ptools list models', or net.py:Net.")
@click.option(
    "--weights", type=FilePath(exists=True), required=True, metavar="FILE",
    help="The checkpoint to start from.",
)  # fmt: skip
@click.option("--source-key", metavar="KEY", help="The state_dict inside FILE: model.ema.")
@click.option("--accept", type=click.Choice(["likely"]), help="Load likely matches too.")
@click.option(
    "--freeze-manifest", type=FilePath(exists=True, dir_okay=False), metavar="FILE",
    help="Freeze what 'ptools partial-load --freeze' wrote.",
)  # fmt: skip
@click.option("--freeze", metavar="PATTERN", multiple=True, help="A parameter or module: 'layer?'.")
@click.option("--data", default="digits", help="A data set by name: see 'ptools list datasets'.")
@click.option("--epochs", type=Whole(1, 100_000), default=8, help="Passes over the images.")
@click.option("--batch-size", type=Whole(1, 1_000_000), default=64, help="Images per step.")
@click.option("--lr", type=Positive(1e6), default=0.01, help="Peak learning rate.")
@seed_option
@device_option
@click.option("--out", type=FilePath(), show_default="runs/DATA-MODEL-N", help="Run folder.")
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, as_json: bool, accept: str | None, source_key: str | None, **options: Any
) -> None:
    from ptools.training import screen

    shown = screen.Screen()
    options |= {"key": source_key, "accept_likely": accept == "likely"}
    with output.aside():  # the model and the data may be anybody's code
        try:
            done = finetune(**options, on_load=_tell, on_start=shown.start, watch=shown.watch)
        finally:
            shown.stop()  # in here: rich puts back the sys.stdout that it met
    if as_json:
        output.document(done.document())
    else:
        _print(done)
    if done.run.interrupted:
        screen.interrupted(done.run)
        ctx.exit(130)


@dataclass(frozen=True)
class Finetuned:
    """What was loaded and frozen (None: nothing was asked to be), and the run that followed."""

    run: Run
    loaded: Loaded
    frozen: Frozen | None

    def document(self) -> dict[str, Any]:
        """Return it for JSON: what `ptools train` says, and `loaded` and `frozen`."""
        frozen = self.frozen.document() if self.frozen else None
        return asdict(self.run) | {"loaded": self.loaded.document(), "frozen": frozen}


def finetune(
    *,
    model: str,
    weights: Path,
    key: str | None = None,
    accept_likely: bool = False,
    freeze_manifest: Path | None = None,
    freeze: Sequence[str] = (),
    data: str = "digits",
    epochs: int = 8,
    batch_size: int = 64,
    lr: float = 0.01,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    force: bool = False,
    watch: Callable[[Running | Epoch], None] = lambda _: None,
    on_load: Callable[[Loaded, Frozen | None], None] = lambda *_: None,
    on_start: Callable[[ImageSet, nn.Module, Path], None] = lambda *_: None,
) -> Finetuned:
    """Load `weights` into `model`, freeze, train, measure the best weights once on the test images.

    `freeze` are patterns (fnmatch) of parameters or modules. `on_load` is called before anything is
    written, `watch` after every batch and epoch. Raises UsageError, FileError, PtoolsError.
    """
    from ptools.checkpoints.freezing import read_manifest
    from ptools.training import check, frozen
    from ptools.training.session import prepare
    from ptools.training.weights import load_into

    _check(weights, out, freeze_manifest, freeze)
    manifest = read_manifest(freeze_manifest) if freeze_manifest else None
    session = prepare(
        data, model, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, device=device
    )
    loaded = load_into(session.net, weights, key=key, accept_likely=accept_likely)
    still = None
    if manifest or freeze:
        still = frozen.freeze(session.net, manifest=manifest, patterns=freeze, loaded=loaded.names)
        check(session.net, session.images, session.settings)  # does the rest get a gradient?
    on_load(loaded, still)
    about = {"loaded": loaded.document(), "frozen": still.document() if still else None}
    run = session.run(out=out, force=force, about=about, watch=watch, on_start=on_start)
    return Finetuned(run, loaded, still)


def _check(weights: Path, out: Path | None, manifest: Path | None, freeze: Sequence[str]) -> None:
    """Refuse what contradicts itself, before anything is read."""
    if manifest and freeze:
        raise UsageError(
            "--freeze-manifest and --freeze both say what is frozen; give one of them."
        )
    if out and weights.exists() and weights.resolve() == (out / "best.pt").resolve():
        raise UsageError(f"--out {out} would replace {weights} itself; choose another folder.")


# -- what a person sees ----------------------------------------------------------------------------


def _tell(loaded: Loaded, frozen: Frozen | None) -> None:
    """Say what was loaded, what was not, and what is frozen."""
    count, total = len(loaded.names), len(loaded.names) + len(loaded.new)
    new = f"; new: {_few(_modules(loaded.new))}" if loaded.new else ""
    output.note(
        f"loaded {count}/{total} tensors ({_percent(loaded)} of the parameters) from {loaded.path}{new}"
    )
    _tell_changes(loaded)
    more = f"ptools partial-load {loaded.path} --model ... --dry-run"
    if loaded.likely:
        names = _few(_modules(loaded.likely))
        output.note(
            f"left: {names}: likely to fit; --accept likely loads them, '{more}' shows them"
        )
    if loaded.ambiguous:
        names = _few(_modules(loaded.ambiguous))
        output.note(f"left: {names}: several tensors would fit; '{more}' shows them")
    for name, op in loaded.offers.items():
        if op in ("channels", "resize"):
            output.note(f"left: {name}: would fit with 'ptools partial-load ... --adapt {op}'")
    if frozen is not None:
        output.note(
            f"frozen {len(frozen.names)} tensors, {frozen.parameters:,} parameters; BatchNorms that stay "
            f"in eval: {len(frozen.eval)}; left to train: {frozen.trainable:,} parameters"
        )
        for text in frozen.warnings:
            output.note(f"Warning: {text}")


def _tell_changes(loaded: Loaded) -> None:
    """One line where tensors have other names in the file, one where they are made of others."""
    renamed = [name for name, move in loaded.moves.items() if move.op == "copy"]
    made = sorted({move.op for move in loaded.moves.values() if move.op != "copy"})
    if renamed:
        output.note(f"renamed {len(renamed)} tensors: {_few(_rules(loaded, renamed))}")
    if made:
        count = len(loaded.moves) - len(renamed)
        output.note(f"made {count} tensors of others: {_few(made)}")


def _rules(loaded: Loaded, renamed: Sequence[str]) -> list[str]:
    """Return the rules that hold for several modules, or else the modules themselves."""
    rules = sorted(loaded.rules, key=lambda rule: -rule.modules)
    if rules and rules[0].modules > 1:
        return [f"{r.source} -> {r.target} ({r.modules} modules)" for r in rules if r.modules > 1]
    pairs = ((loaded.moves[name].sources[0], name) for name in renamed)
    return list(dict.fromkeys(" -> ".join(_modules([key])[0] for key in pair) for pair in pairs))


def _percent(loaded: Loaded) -> str:
    """Return the loaded share, never rounded up to all."""
    return "100 %" if loaded.filled == loaded.parameters else f"{int(loaded.share * 1000) / 10} %"


def _modules(names: Sequence[str]) -> list[str]:
    """Return the modules of tensors, each once."""
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def _few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _FEW} more" if len(texts) > _FEW else ""
    return ", ".join(texts[:_FEW]) + more


def _print(done: Finetuned) -> None:
    from ptools.training import screen

    screen.result(done.run)
    if not done.run.interrupted:
        near = output.program
        output.note("\nNext:")
        output.note(f"  {near('tensorboard')} --logdir {screen.logdir(done.run)}")
