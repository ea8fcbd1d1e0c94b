"""What a word or a number in a name is read as, beside the names it stands with.

Letters may count, conv_a and conv_b; a number may be a size, conv_64 beside conv1 and conv2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ptools.matching.names import TOKEN

Where = tuple[str, int]  # a part of a name, and the place of a token in it
_LETTERED = re.compile(r"[A-Za-z]*[a-hA-H]")
_SIZE = 16  # a number below is no size


def spelled(paths: Sequence[tuple[str, ...]]) -> dict[Where, tuple[str, ...]]:
    """Return what tokens are to be read as, where that is not what they are."""
    return dict(_letters(paths)) | dict(_sizes(paths))


def _letters(paths: Sequence[tuple[str, ...]]) -> Iterator[tuple[Where, tuple[str, ...]]]:
    """Yield letters that count, as words and numbers: conv_a, conv_b, 5b, 5c, ffa_norm.

    Where one is there twice, a, aa and b, nobody knows how they count.
    """
    inside: dict[tuple[object, str], dict[str, Where]] = {}
    for rest, token, where in _tokens(paths):
        if _LETTERED.fullmatch(token):
            inside.setdefault((rest, token[:-1]), {})[token[-1]] = where
    for (rest, word), letters in inside.items():
        if any(letter in inside.get((rest, word + letter), ()) for letter in letters):
            continue
        for letter, where in letters.items():
            if letters.keys() & {chr(ord(letter) + step) for step in (-1, 1)}:
                number = str(ord(letter.lower()) - ord("a") + 1)
                yield where, (word, number) if word else (number,)


def _sizes(paths: Sequence[tuple[str, ...]]) -> Iterator[tuple[Where, tuple[str, ...]]]:
    """Yield numbers that do not count, as words: far beyond the others, that count from 0 or 1."""
    inside: dict[object, dict[int, Where]] = {}
    for rest, token, where in _tokens(paths):
        if token.isdigit():
            inside.setdefault(rest, {})[int(token)] = where
    for numbers in inside.values():
        counting = sorted(number for number in numbers if number < _SIZE)
        beyond = [number for number in numbers if number >= _SIZE]
        if (
            len(counting) > 1
            and counting[0] <= 1
            and beyond
            and min(beyond) > counting[-1] + _SIZE / 2
        ):
            for number in beyond:
                yield numbers[number], (f"x{number}",)


def _tokens(paths: Sequence[tuple[str, ...]]) -> Iterator[tuple[object, str, Where]]:
    """Yield every token, of parts of more than one letter, with what stands around it and its place."""
    for path in dict.fromkeys(paths):
        for depth, part in enumerate(path):
            tokens = TOKEN.findall(part)
            for place, token in enumerate(tokens if len(part) > 1 else ()):
                rest = path[:depth], tuple(tokens[:place]), tuple(tokens[place + 1 :])
                yield rest, token, (part, place)
