"""All layers in words: what `normwise list layers` and docs/layers.md show."""

from normwise.layers.catalog import across_samples, conditional, dropout, torch_named, weights, within_sample
from normwise.layers.catalog._entry import Entry

ENTRIES: tuple[Entry, ...] = (
    *torch_named.ENTRIES,
    *weights.ENTRIES,
    *dropout.ENTRIES,
    *within_sample.ENTRIES,
    *across_samples.ENTRIES,
    *conditional.ENTRIES,
)
"""Family by family."""

__all__ = ["ENTRIES", "Entry"]
