"""Numbers and lists of layers as source text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

LINE = 100
LONGEST_RUN = 6
"""So many equal blocks are written out; more become a loop."""


def number(value: float) -> str:
    """A number as people write it in code.

    >>> number(0.1), number(1e-05), number(0.03162277660168379), number(1.0)
    ('0.1', '1e-5', '0.0316228', '1.0')
    """
    text = repr(float(f"{value:.6g}"))
    mantissa, exponent, power = text.partition("e")
    return f"{mantissa}e{int(power)}" if exponent else text


def quoted(text: str) -> str:
    """A string as the formatter writes it.

    >>> print(quoted("batch"), quoted('say "a"'))
    "batch" 'say "a"'
    """
    return f'"{text}"' if repr(text) == f"'{text}'" and '"' not in text else repr(text)


def runs(blocks: Iterable[Sequence[str]]) -> list[tuple[tuple[str, ...], int]]:
    """Equal blocks in a row, with how many there are of them.

    >>> runs([["a"], ["b"], ["b"]])
    [(('a',), 1), (('b',), 2)]
    """
    return [(block, len(list(equal))) for block, equal in itertools.groupby(map(tuple, blocks))]


def sequence(blocks: Iterable[Sequence[str]], *, apart: bool = False) -> list[str]:
    """The lines between the brackets of a sequential model.

    Args:
        blocks: the layers of each block.
        apart: a line for each layer; otherwise for each block, where it fits.

    >>> sequence([["Linear(3, 8)", "ReLU()"], ["Linear(8, 1)"]])
    ['    Linear(3, 8), ReLU(),', '    Linear(8, 1),']
    >>> sequence([["Linear(8, 8)"]] * 9)
    ['    *(layer for _ in range(9) for layer in (Linear(8, 8),)),']
    """
    lines: list[str] = []
    for block, times in runs(blocks):
        line = f"    {', '.join(block)},"
        written = [line] if len(line) <= LINE and not apart else [f"    {layer}," for layer in block]
        if times <= LONGEST_RUN:
            lines += written * times
            continue
        inside = f"{', '.join(block)}," if len(block) == 1 else ", ".join(block)
        line = f"    *(layer for _ in range({times}) for layer in ({inside})),"
        if len(line) <= LINE:
            lines.append(line)
        else:
            lines += [
                f"    *(layer for _ in range({times}) for layer in (",
                *(f"    {w}" for w in written),
                "    )),",
            ]
    return lines


def call(name: str, *arguments: str | None) -> str:
    """A call with the arguments that are there.

    >>> call("nn.Linear", "3", "8", None)
    'nn.Linear(3, 8)'
    """
    return f"{name}({', '.join(argument for argument in arguments if argument is not None)})"


def sentence(clauses: Sequence[str]) -> str:
    """Clauses as one sentence.

    >>> sentence(["images are channels-last", "no weight is exactly zero"])
    'Images are channels-last; no weight is exactly zero.'
    """
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}." if text else ""
