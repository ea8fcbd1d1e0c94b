"""Scenes in the terminal, each in the place of the one before: at a key, or by the clock."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from ptools import output
from ptools_plugins.convdemo import text
from ptools_plugins.convdemo.scenes import Scene

_BACK = {"b", "\x7f", "\x08", "\x1b[D", "\x1b[A", "\x1bOD", "\x1bOA"}
_QUIT = {"q", "Q", "\x1b", "\x04"}
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"


class _Screen:
    """The lines of the scene that stands there."""

    def __init__(self, ink: text.Ink) -> None:
        self.ink, self.height = ink, 0

    def show(self, scene: Scene, last: str = "", codes: str = "") -> None:
        lines = text.lines(scene, self.ink) + ([last] if last else [])
        room = shutil.get_terminal_size().lines - 2
        if len(lines) > room:  # what has scrolled away cannot be painted over
            lines = [*lines[: room - 1], self.ink.rest]
        up = f"\x1b[{self.height}A\x1b[J" if self.height else ""
        output.result(codes + up + "\n".join(lines))
        self.height = len(lines)


def step(scenes: Iterator[Scene], ink: text.Ink) -> None:
    """Show a scene, wait for a key, and so on; b goes back, q ends."""
    import click

    screen, seen, at = _Screen(ink), list[Scene](), 0
    while True:
        while at >= len(seen):
            scene = next(scenes, None)
            if scene is None:
                return
            seen.append(scene)
        screen.show(seen[at], "any key: next   b: back   q: quit")
        try:
            key = click.getchar()
        except EOFError:  # Ctrl-D
            return
        if key in _QUIT:
            return
        at = max(0, at - 1) if key in _BACK else at + 1


def animate(scenes: Iterator[Scene], ink: text.Ink, delay: float) -> None:
    """Show every scene for `delay` seconds. The cursor is hidden, and comes back whatever happens."""
    from time import sleep

    screen = _Screen(ink)
    try:
        for scene in scenes:
            screen.show(scene, codes="" if screen.height else _HIDE)
            sleep(delay)
    finally:
        output.result(_SHOW)
