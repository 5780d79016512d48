"""How many more seeds would decide what is undecided, as a command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from normwise.results import ClaimName, MoreSeeds, Setting

FIRST_SEEDS = 5
MOST_SEEDS = 100
"""More seeds than this are no next step that anybody takes."""

ON_FRESH_SEEDS: tuple[ClaimName, ...] = (
    "faster",
    "initialization",
    "gradients",
    "generalizes",
    "regularizes",
)
"""Claims that fresh seeds are the pairs of."""

_FLAGS = ("--quick", "--thorough", "--dry-run")


def more_seeds(settings: Sequence[Setting], command: str, *, exploratory: bool = False) -> MoreSeeds | None:
    """The fewest seeds that would decide something about the test metric, or else about anything.

    Effects are taken to be as large as they look; None where nothing is undecided or more seeds would not decide it.
    After a first look it is the same question with the seeds that verdicts begin with.
    """
    if exploratory:
        return MoreSeeds(with_seeds(command, FIRST_SEEDS), FIRST_SEEDS, ())
    open_lines = [
        (claim, claim.seeds_needed)
        for setting in settings
        for claim in setting.claims
        if claim.claim in ON_FRESH_SEEDS
        and claim.verdict == "undecided"
        and claim.seeds_needed is not None
        and claim.seeds_needed <= MOST_SEEDS
    ]
    main = [(claim, seeds) for claim, seeds in open_lines if claim.claim == "generalizes"] or open_lines
    if not main:
        return None
    seeds = min(needed for _, needed in main)
    open_lines.sort(
        key=lambda pair: pair[0].claim != "generalizes"
    )  # stable: what people ask first stands first
    decided = dict.fromkeys(
        f"{claim.claim}: {claim.variant}" for claim, needed in open_lines if needed <= seeds
    )
    return MoreSeeds(with_seeds(command, seeds), seeds, tuple(decided))


def with_seeds(command: str, seeds: int) -> str:
    """The command with another number of seeds, and without what would contradict it.

    >>> with_seeds("normwise compare wine --seeds 5 --quick", 20)
    'normwise compare wine --seeds 20'
    """
    kept: list[str] = []
    words = iter(shlex.split(command))
    for word in words:
        name, separator, _ = word.partition("=")
        if name == "--seeds":
            if not separator:
                next(words, None)
        elif word not in _FLAGS:
            kept.append(word)
    return shlex.join([*kept, "--seeds", str(seeds)])
