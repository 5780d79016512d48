"""Training in training mode."""

from __future__ import annotations

from dataclasses import replace

from normwise.diagnose.subject import Setup


def train_mode(setup: Setup) -> Setup:
    """Call `train()` before the training."""
    setup.model.train()
    return replace(setup, evaluates=False)
