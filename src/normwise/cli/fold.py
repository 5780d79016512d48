"""`normwise fold`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from torch import nn

    from normwise.cli.model_file import Subject
    from normwise.results.edits import Edits


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
    onnx: Annotated[Path | None, typer.Option(help="Write the folded model as .onnx.")] = None,
    exported_program: Annotated[
        Path | None, typer.Option(help="Write it as a program of torch.export, .pt2.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Take normalizations into the weights beside them, for evaluation: fewer modules, same outputs, verified.

    The weights that -o writes are the folded model's, which has other modules: the lines that load them are printed.
    """
    from normwise.cli.export import check_onnx, write_onnx, write_program
    from normwise.cli.model_file import load, speedup, write_weights
    from normwise.cli.output_files import check_files, write_files
    from normwise.models.user_guard import stdout_to_stderr
    from normwise.surgery import fold as fold_away

    files = {"--out": out, "--exported-program": exported_program, "--onnx": onnx}
    check_files("fold", files, dry_run=dry_run)
    check_onnx(onnx)
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

    def folded(model: nn.Module) -> tuple[nn.Module, Edits]:
        return fold_away(model.eval(), subject.example, border=border, keep_places=keep_places)

    with stdout_to_stderr():
        new, edits = folded(before)
        times = speedup(before, new, subject.example)
    written: dict[Path, Callable[[Path], None]] = {}
    if out is not None:
        written[out] = lambda file: write_weights(new, file)
    if onnx is not None:
        written[onnx] = lambda file: write_onnx("fold", new, subject.example, file)
    if exported_program is not None:
        written[exported_program] = lambda file: write_program("fold", new, subject.example, file)
    lines, notes = ([], ()) if out is None else _load(subject, new, folded, out, weights, border, keep_places)
    if not dry_run:
        write_files("fold", written)
    counts = [sum(1 for _ in each.modules()) for each in (before, new)]
    show(
        {"model": subject.title, "modules": counts, "speedup": times, "load": lines},
        edits,
        [
            *([f"\nTo load {out}:\n", *lines] if lines else []),
            f"\n{counts[0]:,} modules before, {counts[1]:,} after; {pace(times)}.",
        ],
        json=json,
        written=list(written),
        dry_run=dry_run,
        notes=[*subject.notes, *notes],
    )


def _load(
    subject: Subject,
    new: nn.Module,
    folded: Callable[[nn.Module], tuple[nn.Module, Edits]],
    out: Path,
    weights: Path | None,
    border: str,
    keep_places: bool,
) -> tuple[list[str], tuple[str, ...]]:
    """The lines that load the file, with fresh weights if those fold alike; and what is to be said of it."""
    from normwise.cli.recipe import batch, call, holds, recipe

    called = call(
        "fold",
        "model.eval()",
        batch(subject),
        None if border == "pad" else f'border="{border}"',
        "keep_places=True" if keep_places else None,
    )
    for first in dict.fromkeys((None, weights)):
        if holds(subject, new, lambda model: folded(model)[0], first):
            note = f"fresh weights fold otherwise: {out} loads behind the fold of {first}"
            return recipe(subject, [called], out, first), () if first is None else (note,)
    return [], (
        f"fresh weights fold otherwise: {out} fits this fold alone; --exported-program needs no model to load",
    )
