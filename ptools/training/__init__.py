"""The engine behind `train` and `finetune`: pytorch-ignite's Engine over our own batches.

    settings     what to do: two recipes, and every part of them
    session      one training from its names to its run folder
    resuming     a run folder -> the session that goes on where it was
    loop         the training itself: ignite's Engine, and what happens between two batches
    step         forward, loss, backward, optimiser
    sources      the batches it takes
    optim        the optimiser; the learning rate of every step
    losses       what is minimised
    scoring      loss, accuracy and confusion on images that are not trained on
    trying       does the model take these images? before anything is written
    finding      --find-lr: losses over a range of learning rates
    memory       out of memory: the largest batch that would fit
    state        last.ckpt: all it takes to go on, to the bit
    signals      Ctrl-C and SIGTERM
    distributed  several processes: who we are, what all agree on
    parallel     the network in several processes
    light        without the machinery of torch.compile
    hardware     devices, threads, native number formats
    history      what the epochs measured, and what follows from it
    run          what came of it all
    folder       the run folder; events: its event file
    screen       what a person sees of it
    weights, frozen  somebody's weights into a model; what of it does not move

Nothing here imports torch or ignite before a training is prepared.
"""

from __future__ import annotations

from ptools.training.hardware import pick_device, share_cores
from ptools.training.history import Epoch
from ptools.training.loop import Custom, Training, fit
from ptools.training.scoring import score
from ptools.training.settings import DataOptions, Settings
from ptools.training.step import Running
from ptools.training.trying import check

__all__ = [
    "Custom",
    "DataOptions",
    "Epoch",
    "Running",
    "Settings",
    "Training",
    "check",
    "fit",
    "pick_device",
    "score",
    "share_cores",
]
