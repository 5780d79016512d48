"""`normwise insert`."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer


def insert(
    model: Annotated[str, typer.Argument(help="The model, as file.py:name or package.module:name.")],
    kind: Annotated[str, typer.Argument(help="The normalization: see `normwise list norms`.")],
    shape: Annotated[str | None, typer.Option(help="The size of one sample, such as 20 or 3,32,32.")] = None,
    example: Annotated[
        str | None, typer.Option(help="The size of a whole batch, such as 16,3,32,32.")
    ] = None,
    where: Annotated[str, typer.Option(help="before or after the activation.")] = "before",
    only: Annotated[list[str] | None, typer.Option(help="Patterns of layers' names; repeatable.")] = None,
    output: Annotated[bool, typer.Option("--output", help="Normalize the last layers as well.")] = False,
    identity: Annotated[
        bool, typer.Option("--identity", help="Start as the identity on the example.")
    ] = False,
    model_args: Annotated[
        list[str] | None, typer.Option(help="Arguments of the builder, name=value.")
    ] = None,
    outputs: Annotated[int, typer.Option(help="Outputs, where the builder asks for them.")] = 10,
    weights: Annotated[Path | None, typer.Option(help="Weights to load: .safetensors, .pt or .pth.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the new weights there.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and write nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Put a normalization into a model: the plan, what to write into its source, and a check before and after."""
    from normwise.cli.model_file import load, save, speedup
    from normwise.models.user_guard import stdout_to_stderr
    from normwise.surgery import insert as insert_into

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
    if json:
        entries = [dict(zip(("name", "before", "after", "why"), edit, strict=True)) for edit in edits]
        answer: dict[str, Any] = {"model": subject.title, "kind": kind, "edits": entries, "code": code}
        answer |= {
            "parameters": [before, after],
            "speedup": times,
            "written": None if dry_run else _text(out),
        }
        print(json_format.dumps(answer, ensure_ascii=False, indent=1))
        return
    print(edits)
    print(f"\nIn the source of {subject.title}:\n")
    print("\n".join(code))
    print(
        f"\n{before:,} parameters before, {after:,} after; a pass in evaluation takes {1 / times:.2f} times as long."
    )
    if out is not None:
        print("nothing was written (--dry-run)" if dry_run else f"weights written to {out}")


def _text(out: Path | None) -> str | None:
    return None if out is None else str(out)


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
