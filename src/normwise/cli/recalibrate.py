"""`normwise recalibrate`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console

from normwise.cli.output_files import first_line
from normwise.cli.surgery_options import DryRun, Json, Model, ModelArgs, Out, Weights, show
from normwise.errors import ArgumentError, NormwiseError, explain


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
    from normwise.cli.model_file import batches_of, load, write_weights
    from normwise.cli.output_files import check_files, write_files
    from normwise.models.user_guard import stdout_to_stderr
    from normwise.surgery import recalibrate as pool

    check_files("recalibrate", {"--out": out}, dry_run=dry_run)
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

        with _explained(subject.title, batches):
            new, edits = pool(subject.model, batches.inputs, how=how, progress=told)
    if out is not None and not dry_run:
        write_files("recalibrate", {out: lambda file: write_weights(new, file)})
    rows = sum(len(batch) for batch in batches.inputs)
    show(
        {"model": subject.title, "data": data, "rows": rows, "batches": len(batches.inputs)},
        edits,
        [f"\n{rows:,} rows of {batches.name} in {len(batches.inputs):,} batches."],
        json=json,
        written=[] if out is None else [out],
        dry_run=dry_run,
        notes=subject.notes,
    )


@contextlib.contextmanager
def _explained(title: str, batches: Any) -> Iterator[None]:
    """Say in one line what the model raised of a batch."""
    try:
        yield
    except NormwiseError:
        raise
    except Exception as error:
        # What the user's code raises; `recalibrate` notes it where that was in a batch.
        if not any("in batch" in note for note in getattr(error, "__notes__", ())):
            raise
        size = ",".join(map(str, batches.inputs[0].shape))
        got = f"{first_line(error)}; a batch of {batches.name} has the shape ({size})"
        raise ArgumentError(explain("recalibrate", f"{title} must run on the data", got)) from error
