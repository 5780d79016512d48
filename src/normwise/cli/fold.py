"""`normwise fold`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normwise.cli.surgery_options import (
    DryRun,
    Example,
    Json,
    Model,
    ModelArgs,
    Out,
    Outputs,
    Shape,
    Weights,
    pace,
    show,
)


def fold(
    model: Model,
    shape: Shape = None,
    example: Example = None,
    border: Annotated[
        str, typer.Option(help="pad or refuse, for a norm before a convolution with zero padding.")
    ] = "pad",
    keep_places: Annotated[
        bool, typer.Option("--keep-places", help="Leave an Identity at every place.")
    ] = False,
    model_args: ModelArgs = None,
    outputs: Outputs = 10,
    weights: Weights = None,
    out: Out = None,
    onnx: Annotated[Path | None, typer.Option(help="Write the folded model as ONNX.")] = None,
    exported_program: Annotated[
        Path | None, typer.Option(help="Write it as a program of torch.export.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Take normalizations into the weights beside them, for evaluation: fewer modules, same outputs, verified."""
    from normwise.cli.model_file import check_out, export, load, save, speedup
    from normwise.models.user_guard import stdout_to_stderr
    from normwise.surgery import fold as fold_away

    check_out("fold", out)
    subject = load(
        "fold",
        model,
        model_args=tuple(model_args or ()),
        shape=shape,
        example=example,
        outputs=outputs,
        weights=weights,
    )
    before = subject.model.eval()
    with stdout_to_stderr():
        new, edits = fold_away(before, subject.example, border=border, keep_places=keep_places)
        times = speedup(before, new, subject.example)
    written = [file for file in (out, onnx, exported_program) if file is not None]
    if not dry_run:
        if out is not None:
            save("fold", new, out)
        export(new, subject.example, onnx=onnx, program=exported_program)
    counts = [sum(1 for _ in each.modules()) for each in (before, new)]
    show(
        {"model": subject.title, "modules": counts, "speedup": times},
        edits,
        [f"\n{counts[0]:,} modules before, {counts[1]:,} after; {pace(times)}."],
        json=json,
        written=written,
        dry_run=dry_run,
    )
