"""`normwise.compare(…)` for scripts and notebooks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from normwise.compare.run import Progress, run
from normwise.compare.spec import make_spec
from normwise.results import Comparison


def compare(
    data: str = "digits",
    *,
    norms: str | Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    budget: float | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """Train the same network with different normalizations on the data and compare what they do.

    Call it under ``if __name__ == "__main__":`` in a script: worker processes are spawned and import the script again.

    Args:
        data: name or path of the data, as `normwise.data.load` takes it.
        norms: normalizations to compare, such as ``["none", "batch"]`` or ``"none,batch,ghost:16"``, of those that
            `normwise list norms` shows; None takes the usual ones that fit. For more than the normalization to vary,
            give `variants` instead.
        out: the run directory; None takes one in ``runs/`` named after the question, which a second call finds again.
        workers: processes that train side by side; None takes one per core.
        budget: seconds to keep within, by leaving out initializations, then variants, then steps, never what was
            asked for here by name; None leaves nothing out.
        progress: told what is going on; None is silent.
        options: any field of `normwise.compare.Spec`.

    Returns:
        The comparison; `normwise.report(comparison, "report.html")` shows it.

    Raises:
        ArgumentError, UnknownNameError, DataError, StoreError: one message each, before anything is trained.
        InterruptedRunError: a KeyboardInterrupt; its `comparison` is what can be said so far, or None.
    """
    fields: dict[str, Any] = {"data": data, **options}
    if norms is not None:
        fields["norms"] = norms
    return run(
        make_spec(fields),
        out=None if out is None else Path(out),
        workers=workers,
        budget=budget,
        progress=progress,
    )
