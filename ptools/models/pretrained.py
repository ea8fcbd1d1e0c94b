"""Weights that torchvision publishes for its models: which, where they lie, what they expect.

weights(spec, "DEFAULT")   a Pretrained, without downloading anything
Pretrained.fetch()         its file, downloaded into torch.hub's cache if it is not there
is_a_name("DEFAULT")       whether a text can only be the name of such weights
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptools.errors import PtoolsError, UsageError, cause, suggestion

__all__ = ["Pretrained", "is_a_name", "weights"]

_NAME = re.compile(r"DEFAULT|IMAGENET1K_\w+|\w+_Weights\.\w+")
_WAIT = 30  # seconds for an answer of the server

# what torchvision's builders change when they are given weights: how the images are normalised inside
# the network, and heads that only training uses, which were not published in a trained state
_AS_TRAINED: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "aux_logits": False},
    "inception_v3": {"transform_input": True},
}


@dataclass(frozen=True)
class Pretrained:
    """Published weights of one model.

    name       "IMAGENET1K_V1"
    url, path  where they are published, and the file in torch.hub's cache
    spec       the model they belong to, with the arguments that they need
    mean, std  how its images were normalised, in 0..1
    crop       the side of the images; before, the shorter side was made `resize` pixels long
    classes    its outputs
    """

    name: str
    url: str
    path: Path
    spec: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: int
    resize: int
    classes: int

    def fetch(self, tell: Callable[[str], object] = lambda _: None) -> Path:
        """Return the file, downloading it first where it is missing; `tell` is told before.

        It appears whole, with the hash that its name promises, or not at all. Raises PtoolsError.
        """
        if self.path.is_file():
            return self.path
        tell(f"downloading {self.url} to {self.path}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _download(self.url, self.path)
        except (
            OSError,
            RuntimeError,
        ) as error:  # URLError is an OSError; a wrong hash is the other
            raise PtoolsError(
                f"{self.url} cannot be downloaded ({cause(error)}); put {self.path.name} into "
                f"{self.path.parent}, or start from random weights: --weights none."
            ) from error
        return self.path


def is_a_name(text: str) -> bool:
    """Return whether `text` names weights of torchvision, not a file."""
    return _NAME.fullmatch(text) is not None


def weights(spec: str, name: str = "DEFAULT") -> Pretrained:
    """Return the weights `name` of the model `spec`. Raises UsageError where there are none."""
    import torch
    from torchvision import models

    from ptools.models import literals, with_arguments

    model, _ = literals(spec)
    if model is None or model not in models.list_models(module=models):
        raise UsageError(
            f"torchvision has no weights for '{spec}'; give --weights a file, or none."
        )
    known = models.get_model_weights(model).__members__
    short = name.rpartition(".")[2]
    if short not in known:
        close = suggestion(short, list(known)) or f" There are: {', '.join(known)}."
        raise UsageError(f"{model} has no weights called '{name}'.{close}")
    entry = known[short]
    view = entry.transforms()
    return Pretrained(
        name=entry.name,
        url=entry.url,
        path=Path(torch.hub.get_dir(), "checkpoints", entry.url.rpartition("/")[2]),
        spec=with_arguments(spec, **_AS_TRAINED.get(model, {})),
        mean=tuple(view.mean),
        std=tuple(view.std),
        crop=view.crop_size[0],
        resize=view.resize_size[0],
        classes=len(entry.meta["categories"]),
    )


def _download(url: str, path: Path) -> None:
    """Download by way of torch.hub, which writes beside `path` and renames."""
    import socket
    import sys

    import torch

    hash_prefix = torch.hub.HASH_REGEX.search(path.name)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_WAIT)  # torch.hub would wait for ever behind a silent firewall
    try:
        torch.hub.download_url_to_file(
            url, str(path), hash_prefix[1] if hash_prefix else None, progress=sys.stderr.isatty()
        )
    finally:
        socket.setdefaulttimeout(before)
