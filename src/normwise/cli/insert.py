"""`normwise insert`."""

from __future__ import annotations

from typing import Annotated, Any

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
    from normwise.cli.model_file import check_out, load, save, speedup
    from normwise.models.user_guard import stdout_to_stderr
    from normwise.surgery import insert as insert_into

    check_out("insert", out)
    subject = load(
        "insert",
        model,
        model_args=tuple(model_args or ()),
        shape=shape,
        example=example,
        outputs=outputs,
        weights=weights,
    )
    with stdout_to_stderr():
        new, edits = insert_into(
            subject.model,
            kind,
            subject.example,
            where=where,
            only=tuple(only or ("*",)),
            output=output,
            identity=identity,
        )
        times = speedup(subject.model, new, subject.example)
    before, after = (sum(p.numel() for p in each.parameters()) for each in (subject.model, new))
    if out is not None and not dry_run:
        save("insert", new, out)
    code = [*_snippet(new, edits), "", *_call(kind, subject.example, where, output, identity)]
    show(
        {"model": subject.title, "kind": kind, "code": code, "parameters": [before, after], "speedup": times},
        edits,
        [
            f"\nIn the source of {subject.title}:\n",
            *code,
            f"\n{before:,} parameters before, {after:,} after; {pace(times)}.",
        ],
        json=json,
        written=[] if out is None else [out],
        dry_run=dry_run,
    )


def _call(kind: str, example: Any, where: str, output: bool, identity: bool) -> list[str]:
    """The same in one call, under whose names weights are written."""
    options = (
        [f'where="{where}"'] * (where != "before") + ["output=True"] * output + ["identity=True"] * identity
    )
    size = ", ".join(map(str, example.shape))
    given = ", ".join(["model", f'"{kind}"', f"torch.randn({size})", *options])
    return ["# or, as the weights here are named, behind the builder:", f"model, edits = nw.insert({given})"]


def _snippet(new: Any, edits: Any) -> list[str]:
    """What to write into the model's source, layer by layer."""
    from normwise.layers.normalized import Normalized

    lines = []
    for edit in edits.changed:
        module = new.get_submodule(edit.name)
        inner = isinstance(module, Normalized)
        norm = module.norm if inner else module.get_submodule("norm")
        own = f"self.{edit.name}" if edit.name else "self"
        bias = "; bias=False" if inner and "bias" in edit.why else ""
        made = f"nw.{type(norm).__name__}({norm.extra_repr().split(', ')[0]})"
        place = edit.name.replace(".", "_")
        lines.append(f"self.{place}_norm = {made}  # in __init__{bias}")
        lines.append(f"x = self.{place}_norm({own}(x))  # in forward, for {own}(x)")
    return lines
