"""The rows that the trainings of a setting need: of a million rows a split is drawn, but not prepared whole."""

from __future__ import annotations

import math
from functools import lru_cache

from normwise.compare.plan import Ground
from normwise.data import Dataset, Split

FINAL_ROWS = {"train": 4096, "validation": 4096, "test": 16_384}
"""The last evaluation reads at most so many rows of each part: on large data the evaluation of a short training would
otherwise outlast it many times over. Of 16,384 rows an accuracy is known to ±0.8 pp at worst."""


def rows_needed(ground: Ground) -> tuple[int, int, int]:
    """Most rows of train, validation and test that a training of this setting reads."""
    # The share is taken of what is drawn.
    train = math.ceil(max(ground.steps * ground.batch_size, FINAL_ROWS["train"]) / ground.train_share)
    return train, FINAL_ROWS["validation"], FINAL_ROWS["test"]


def split_for(ground: Ground, data: Dataset, seed: int) -> Split:
    """The split of a seed, with no more rows than the setting reads; the last few are kept."""
    return _split(data, seed, rows_needed(ground), ground.train_share)


@lru_cache(maxsize=3)
def _split(data: Dataset, seed: int, most: tuple[int, int, int], share: float) -> Split:
    return data.split(seed, most=most, train_share=share)
