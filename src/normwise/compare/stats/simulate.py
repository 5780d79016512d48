"""How often the rule cries wolf: its family-wise error, by simulation."""

from __future__ import annotations

import numpy as np

from normwise.compare.stats.decide import decide


def family_wise_error(*, pairs: int, comparisons: int, runs: int = 2000, seed: int = 0) -> float:
    """The share of null runs in which `decide` says yes or no at least once.

    Each run draws one baseline and `comparisons` variants of equal mean; the variants share their baseline, as in a
    comparison, and every pair shares a seed effect that pairing removes.
    """
    generator = np.random.default_rng(seed)
    wrong = 0
    for _ in range(runs):
        values = generator.normal(size=(comparisons + 1, pairs)) + generator.normal(size=(1, pairs))
        verdicts = (
            decide(tuple(row - values[0]), comparisons=comparisons, margin=0.0).verdict for row in values[1:]
        )
        wrong += any(verdict in ("yes", "no") for verdict in verdicts)
    return wrong / runs
