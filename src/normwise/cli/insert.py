"""`normwise insert`."""

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


def insert(
    model: Model,
    kind: Annotated[str, typer.Argument(help="The normalization: see `normwise list norms`.")],
    shape: Shape = None,
    example: Example = None,
    where: Annotated[str, typer.Option(help="before or after the activation.")] = "before",
    only: Annotated[list[str] | None, typer.Option(help="Patterns of layers' names; repeatable.")] = None,
    output: Annotated[bool, typer.Option("--output", help="Normalize the last layers as well.")] = False,
    identity: Annotated[
        bool, typer.Option("--identity", help="Start as the identity on the example.")
    ] = False,
    model_args: ModelArgs = None,
    outputs: Outputs = 10,
    weights: Weights = None,
    out: Out = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Put a normalization into a model: the plan, what to write into its source, and a check before and after."""
    from normwise.cli.model_file import load, speedup, write_weights
    from normwise.cli.output_files import check_files, write_files
    from normwise.cli.recipe import batch, call, patterns_of, recipe
    from normwise.cli.snippet import lines_for, quoted
    from normwise.models.user_guard import stdout_to_stderr
    from normwise.surgery import insert as insert_into

    check_files("insert", {"--out": out}, dry_run=dry_run)
    subject = load(
        "insert",
        model,
        model_args=tuple(model_args or ()),
        shape=shape,
        example=example,
        outputs=outputs,
        weights=weights,
    )
    patterns = tuple(only or ("*",))
    with stdout_to_stderr():
        new, edits = insert_into(
            subject.model,
            kind,
            subject.example,
            where=where,
            only=patterns,
            output=output,
            identity=identity,
        )
        times = speedup(subject.model, new, subject.example)
    before, after = (sum(p.numel() for p in each.parameters()) for each in (subject.model, new))
    if out is not None and not dry_run:
        write_files("insert", {out: lambda file: write_weights(new, file)})
    code = lines_for(subject.title, subject.model, new, edits.changed)
    called = call(
        "insert",
        "model",
        quoted(kind),
        batch(subject, same=identity),
        None if where == "before" else f"where={quoted(where)}",
        f"only={patterns_of(patterns)}" if only else None,
        "output=True" if output else None,
        "identity=True" if identity else None,
    )
    recipe_lines = recipe(subject, [called], out, weights if out is None or identity else None)
    if identity:
        code.append("# that they begin as the identity is up to the call below, and its weights")
    named = "nw.insert names them" if out is None else f"they are named in {out}"
    show(
        {
            "model": subject.title,
            "kind": kind,
            "code": code,
            "load": recipe_lines,
            "parameters": [before, after],
            "speedup": times,
        },
        edits,
        [
            f"\nIn the source of {subject.title}:\n",
            *code,
            f"\nOr with the weights as {named}:\n",
            *recipe_lines,
            f"\n{before:,} parameters before, {after:,} after; {pace(times)}.",
        ],
        json=json,
        written=[] if out is None else [out],
        dry_run=dry_run,
        notes=subject.notes,
    )
