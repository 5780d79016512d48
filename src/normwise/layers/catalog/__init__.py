"""All layers in words: what `normwise list layers` and docs/layers.md show."""

from normwise.layers.catalog import across_samples, conditional, dropout, torch_named, weights, within_sample
from normwise.layers.catalog._entry import Entry
from normwise.layers.catalog._markdown import markdown

FAMILIES: dict[str, tuple[Entry, ...]] = {
    "Common normalizations": torch_named.ENTRIES,
    "Across samples": across_samples.ENTRIES,
    "Within a sample": within_sample.ENTRIES,
    "Conditional": conditional.ENTRIES,
    "Weights": weights.ENTRIES,
    "Dropout and noise": dropout.ENTRIES,
}
"""Title → entries."""

ENTRIES: tuple[Entry, ...] = tuple(entry for entries in FAMILIES.values() for entry in entries)
"""Family by family."""

__all__ = ["ENTRIES", "FAMILIES", "Entry", "markdown"]
