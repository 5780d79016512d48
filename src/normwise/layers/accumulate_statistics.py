"""Running statistics under gradient accumulation: of the macro-batch, not of its parts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from normwise import functional
from normwise.layers._sharing import sharing
from normwise.layers._tracking import Tracking, held


@contextlib.contextmanager
def accumulate_statistics(model: nn.Module) -> Iterator[None]:
    """Within the block, take all batches that pass for parts of one, by which running statistics move once at its end.

    Each part is normalized by its own statistics, as under gradient accumulation without this: mean and variance of the
    running statistics become those of the whole, ``σ² = (Σ M₂ + Σ n·(m − μ)²) / Σ n``, where the average over parts
    lacks the second term. `num_batches_tracked` counts one. To normalize by the statistics of the whole as well, see
    `lockstep`.

    A part that is not finite is left out and counted in `num_batches_skipped`. After an exception nothing has moved.

    Args:
        model: with batch normalizations of normwise.

    Raises:
        ArgumentError: (a ValueError) the model has none.

    >>> import normwise as nw
    >>> layer = nw.BatchNorm1d(1, momentum=1.0)
    >>> with accumulate_statistics(layer):
    ...     for part in (torch.tensor([[0.0], [2.0]]), torch.tensor([[10.0], [12.0]])):
    ...         _ = layer(part)
    >>> layer.running_mean, layer.running_var.round(decimals=2), layer.num_batches_tracked
    (tensor([6.]), tensor([34.6700]), tensor(1))
    """
    with sharing("accumulate_statistics", model, _Whole) as wholes:
        yield
    for whole in wholes:
        whole.keep()


class _Whole:
    """How a layer normalizes alone, and remembers the moments of what it saw."""

    def __init__(self, layer: Tracking) -> None:
        self.layer = layer
        self.moments: functional.Moments | None = None

    def __call__(
        self, layer: Any, input: Tensor, sample_weight: Tensor | None = None, **after: Any
    ) -> Tensor:
        if layer.moves():
            self._remember(functional.moments(input.detach(), sample_weight))
        return functional.batch_norm(
            input,
            None,
            None,
            held(layer, "weight"),
            held(layer, "bias"),
            True,
            eps=layer.eps,
            sample_weight=sample_weight,
            **after,
        )

    @torch.no_grad()
    def _remember(self, part: functional.Moments) -> None:
        finite = (part.mean.isfinite() & part.squares.isfinite()).all()
        # Without a branch on values, so that nothing waits for a device.
        kept = functional.Moments(
            *(torch.where(finite, v, 0.0) for v in (part.count, part.mean, part.squares))
        )
        self.moments = kept if self.moments is None else self.moments.merged(kept)
        skipped = self.layer.num_batches_skipped
        if skipped is not None:
            skipped.add_(finite.logical_not())

    @torch.no_grad()
    def keep(self) -> None:
        """Move the running statistics by the whole."""
        running, whole = self.layer.running(), self.moments
        if running is None or whole is None:
            return
        seen = whole.count > 0
        less = 0.0 if running.biased else 1.0
        var = whole.squares / (whole.count - less).clamp_min(1.0)
        running.track(torch.where(seen, whole.mean, running.mean), torch.where(seen, var, running.var))
