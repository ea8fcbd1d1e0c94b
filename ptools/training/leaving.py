"""What a session leaves beside its weights and figures: pictures, the graph, the whole module.

trace(session, kept)        the graph, for TensorBoard
draw(session, kept, ...)    what was taken for what, and the surest mistakes
save_model(session, kept)   model.pth, under --save-model
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from ptools import output
from ptools.errors import cause

if TYPE_CHECKING:
    from ptools.training.folder import RunFolder
    from ptools.training.scoring import Measured
    from ptools.training.session import Session

__all__ = ["draw", "save_model", "trace"]


def trace(session: Session, kept: RunFolder) -> None:
    """Write the graph of the network into the event file, where it can be traced."""
    from ptools.training.graph import graph

    found = graph(session.net, session.images.shape)
    if found:
        kept.events.graph(found)


def draw(session: Session, kept: RunFolder, on: str, measured: Measured) -> None:
    """Draw what was taken for what, and the surest mistakes, of the images called `on`."""
    import torch

    from ptools.training import plots

    classes, wrong, table = session.images.classes, measured.mistakes, measured.confusion
    if table and len(classes) <= plots.DRAWN:
        kept.draw("confusion.png", lambda: plots.confusion(classes, table))
    part = getattr(session.images, on)
    if not wrong or part is None:
        return
    images = part.pixels(torch.tensor([mistake.index for mistake in wrong])).cpu()
    sure = session.settings.loss in ("ce", "bce")
    kept.draw("mistakes.png", lambda: plots.mistakes(wrong, images, classes, sure=sure))


def save_model(session: Session, kept: RunFolder) -> None:
    """Write the whole module the old way; it holds the weights that are kept."""
    from ptools import checkpoints

    if session.settings.shard:
        return output.note("model.pth is not written under --shard; best.pth has it all.")
    session.net.load_state_dict(kept.best_weights())
    try:
        checkpoints.save(session.net.eval(), kept.folder / "model.pth", force=True)
    except (AttributeError, TypeError, ImportError, pickle.PicklingError) as error:
        output.note(f"model.pth cannot be written: {cause(error)}; best.pth has the weights.")
    return None
