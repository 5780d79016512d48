"""The catalog as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from normwise.layers.catalog._entry import Entry

_HEAD = """\
# Layers

Every layer is `normwise.NAME`, a `torch.nn.Module` with torch's argument names, and where torch or timm has a layer of
the same meaning its state_dict is theirs. `#` stands for 1, 2 and 3 axes of positions: (N, C, L), (N, C, H, W),
(N, C, D, H, W). *Fused* names the form that adds a residual, an activation and dropout in the same pass; *kernel* says
that normwise's own CPU kernels run it. Sources are named by author and year. `normwise list layers` shows the same on a
terminal; this page is its output with `--markdown`.

Whatever the layer: statistics are float32 (float64 for float64 input); outputs have the input's dtype and layout; a
single sample, a constant or an empty input gives finite values or an error that says what to do. Layers with running
statistics leave out batches that are not finite and count them (`num_batches_skipped`), move once a step under
activation checkpointing, keep float32 statistics in a narrow model, and can be frozen (`freeze_statistics`,
`freeze_affine`). Batch, group, instance and layer normalization take a mask or weights (`sample_weight`).
"""


def markdown(families: Mapping[str, Sequence[Entry]]) -> str:
    """The page of docs/layers.md.

    >>> "# Layers" in markdown({})
    True
    """
    parts = [_HEAD]
    for title, entries in families.items():
        rows = [
            "| layer | formula | paper | when to use it | what the evidence says |",
            "|---|---|---|---|---|",
        ]
        rows += [_row(entry) for entry in entries]
        parts.append(f"## {title}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _row(entry: Entry) -> str:
    notes = [f"{entry.inputs}"]
    notes += [f"fused: {_code(entry.fused)}"] if entry.fused else []
    notes += ["kernel"] if entry.kernel else []
    cells = (
        f"`{entry.name}`<br>{', '.join(notes)}",
        f"`{entry.formula}`",
        entry.paper,
        entry.when,
        entry.evidence,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    """A name as code; words as they are."""
    return text if " " in text else f"`{text}`"
