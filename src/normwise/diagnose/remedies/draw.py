"""The control of a benchmark of remedies: any remedy, whatever was found."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch

from normwise.diagnose.remedies.inputs import standardise_inputs
from normwise.diagnose.remedies.mode import train_mode
from normwise.diagnose.remedies.norms import insert_norm, recalibrate
from normwise.diagnose.remedies.setup import copied, differences
from normwise.diagnose.remedies.structure import change_dropout
from normwise.diagnose.remedies.training import change_decay, change_rate, clip, larger_batch, spare_norms
from normwise.diagnose.remedies.weights import initialise
from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError

_REMEDIES: tuple[tuple[str, Callable[[Setup], Setup]], ...] = (
    ("initial weights of He", lambda setup: initialise(setup, "he")),
    ("initial weights of Xavier", lambda setup: initialise(setup, "xavier")),
    ("initial weights by LSUV", lambda setup: initialise(setup, "lsuv")),
    ("batch normalization", lambda setup: insert_norm(setup, "batch")),
    ("layer normalization", lambda setup: insert_norm(setup, "layer")),
    ("learning rate × 0.1", lambda setup: change_rate(setup, 0.1)),
    ("learning rate × 10", lambda setup: change_rate(setup, 10.0)),
    ("gradients clipped to 1", lambda setup: clip(setup, 1.0)),
    ("batches twice as large", lambda setup: larger_batch(setup, 2 * setup.batch_size)),
    ("standardised inputs", standardise_inputs),
    ("norms without weight decay", spare_norms),
    ("weight decay 1e-4", lambda setup: change_decay(setup, 1e-4)),
    ("no weight decay", lambda setup: change_decay(setup, 0.0)),
    ("no dropout", lambda setup: change_dropout(setup, 0.0)),
    ("recalibrated norms", recalibrate),
    ("training mode", train_mode),
)


def random_remedy(setup: Setup, seed: int) -> tuple[Setup, str]:
    """A remedy that is drawn from all of them by a seed, applied to a copy; and its name in words.

    One that the model cannot take, or that changes nothing, is drawn again: a control must be able to win.

    Args:
        setup: stays as it is; without an example, remedies that look at data are not drawn.
        seed: of the draw, and of weights that the remedy draws.
    """
    order = random.Random(seed).sample(_REMEDIES, len(_REMEDIES))
    for words, remedy in order:
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                made = remedy(copied(setup))
        except ArgumentError:
            continue
        if differences(setup, made):
            return made, words
    return setup, "nothing"
