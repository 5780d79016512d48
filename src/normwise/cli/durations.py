"""Times as people write them."""

from __future__ import annotations

import re

from normwise.errors import ArgumentError, explain

_PARTS = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_budget(text: str) -> float | None:
    """Seconds of "90s", "3m", "1h30m"; None for "none".

    Raises:
        ArgumentError: anything else.

    >>> parse_budget("1h30m"), parse_budget("none")
    (5400.0, None)
    """
    word = text.strip().lower()
    if word == "none":
        return None
    match = _PARTS.fullmatch(word)
    seconds = (
        sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True))
        if match
        else 0.0
    )
    if not match or seconds <= 0:
        raise ArgumentError(
            explain(
                "compare",
                "`--budget` must be a time such as 90s, 3m or 1h30m, or none",
                repr(text),
                "use --budget 3m",
            )
        )
    return seconds


def in_words(seconds: float) -> str:
    """A time that was guessed, as it is said.

    >>> in_words(8), in_words(95), in_words(1000), in_words(9000)
    ('about 10 s', 'about 1 min 35 s', 'about 17 min', 'about 2.5 h')
    """
    if seconds < 57:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    if seconds < 600:
        whole = 5 * round(seconds / 5)
        rest = whole % 60
        return f"about {whole // 60} min" + (f" {rest} s" if rest else "")
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.2g} h"


def exactly(seconds: float) -> str:
    """A time that was given.

    >>> exactly(180.0), exactly(90.0), exactly(5400.0)
    ('3 min', '1 min 30 s', '1 h 30 min')
    """
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{value:g} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if value]
    return " ".join(parts)
