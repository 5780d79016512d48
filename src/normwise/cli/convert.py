"""`normwise convert`."""

from __future__ import annotations

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


def convert(
    model: Model,
    source: Annotated[
        str, typer.Argument(help="The kind that is there: batch, group, layer, rms, sync, torch, …")
    ],
    target: Annotated[str, typer.Argument(help="The kind that is wanted, such as group:8 or normwise.")],
    shape: Shape = None,
    example: Example = None,
    only: Annotated[list[str] | None, typer.Option(help="Patterns of layers' names; repeatable.")] = None,
    data: Annotated[str | None, typer.Option(help="Data to fit weight and bias to, by name or path.")] = None,
    data_target: Annotated[str | None, typer.Option("--target", help="The data's column to predict.")] = None,
    batch_size: Annotated[int, typer.Option(help="Rows in a batch of the data.")] = 64,
    model_args: ModelArgs = None,
    outputs: Outputs = 10,
    weights: Weights = None,
    out: Out = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Turn the normalizations of one kind in a model into those of another; what is lost is listed."""
    from normwise.cli.model_file import batches_of, load, speedup, write_weights
    from normwise.cli.output_files import check_files, write_files
    from normwise.cli.recipe import batch, call, patterns_of, recipe
    from normwise.cli.snippet import quoted
    from normwise.models.user_guard import stdout_to_stderr
    from normwise.surgery import convert as convert_to

    check_files("convert", {"--out": out}, dry_run=dry_run)
    batches = None if data is None else batches_of("convert", data, data_target, batch_size)
    if batches is not None and shape is None and example is None:
        example = ",".join(map(str, batches.inputs[0].shape))
        outputs = batches.out_features
    subject = load(
        "convert",
        model,
        model_args=tuple(model_args or ()),
        shape=shape,
        example=example,
        outputs=outputs,
        weights=weights,
    )
    kinds = [word.strip() for word in source.split(",")]
    with stdout_to_stderr():
        new, edits = convert_to(
            subject.model,
            kinds,
            target,
            example=subject.example,
            data=None if batches is None else batches.inputs,
            where=tuple(only) if only else None,
        )
        times = speedup(subject.model, new, subject.example)
    if out is not None and not dry_run:
        write_files("convert", {out: lambda file: write_weights(new, file)})
    called = call(
        "convert",
        "model",
        quoted(kinds[0]) if len(kinds) == 1 else patterns_of(kinds),
        quoted(target),
        f"example={batch(subject)}",
        f"where={patterns_of(only)}" if only else None,
    )
    lines = [] if out is None else recipe(subject, [called], out)
    show(
        {"model": subject.title, "source": source, "target": target, "speedup": times, "load": lines},
        edits,
        [*([f"\nTo load {out}:\n", *lines] if lines else []), f"\n{pace(times)}."],
        json=json,
        written=[] if out is None else [out],
        dry_run=dry_run,
        notes=subject.notes,
    )
