"""`normwise recalibrate`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from normwise.cli.surgery_options import DryRun, Json, Model, ModelArgs, Out, Weights, show


def recalibrate(
    model: Model,
    data: Annotated[str, typer.Argument(help="Data by name or path, prepared as `compare` prepares it.")],
    target: Annotated[str | None, typer.Option(help="The data's column to predict.")] = None,
    how: Annotated[
        str, typer.Option(help="batch (one pass) or sequential (a pass for each layer).")
    ] = "batch",
    batch_size: Annotated[int, typer.Option(help="Rows in a batch.")] = 64,
    model_args: ModelArgs = None,
    weights: Weights = None,
    out: Out = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Give the running statistics of a model those of the data, pooled over all of it (precise batch normalization)."""
    from normwise.cli.model_file import batches_of, check_out, load, save
    from normwise.models.user_guard import stdout_to_stderr
    from normwise.surgery import recalibrate as pool

    check_out("recalibrate", out)
    batches = batches_of("recalibrate", data, target, batch_size)
    subject = load(
        "recalibrate",
        model,
        model_args=tuple(model_args or ()),
        example=",".join(map(str, batches.inputs[0].shape)),
        outputs=batches.out_features,
        weights=weights,
    )
    with stdout_to_stderr(), Console(stderr=True).status("measuring") as status:

        def told(done: int, total: int | None) -> None:
            if sys.stderr.isatty():
                status.update(f"measuring: {done:,} of {total or len(batches.inputs):,} batches")

        new, edits = pool(subject.model, batches.inputs, how=how, progress=told)
    if out is not None and not dry_run:
        save("recalibrate", new, out)
    rows = sum(len(batch) for batch in batches.inputs)
    show(
        {"model": subject.title, "data": data, "rows": rows, "batches": len(batches.inputs)},
        edits,
        [f"\n{rows:,} rows of {batches.name} in {len(batches.inputs):,} batches."],
        json=json,
        written=[] if out is None else [out],
        dry_run=dry_run,
    )
