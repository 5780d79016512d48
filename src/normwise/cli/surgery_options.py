"""Options and answers that the commands of surgery share."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Argument(help="The model, as file.py:name or package.module:name.")]
Shape = Annotated[str | None, typer.Option(help="The size of one sample, such as 20 or 3,32,32.")]
Example = Annotated[str | None, typer.Option(help="The size of a whole batch, such as 16,3,32,32.")]
ModelArgs = Annotated[
    list[str] | None, typer.Option(help="Arguments of the builder, name=value; repeatable.")
]
Outputs = Annotated[int, typer.Option(help="Outputs, where the builder asks for them.")]
Weights = Annotated[Path | None, typer.Option(help="Weights to load: .safetensors, .pt or .pth.")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Write the new weights there: .safetensors, .pt or .pth.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and write nothing.")]
Json = Annotated[bool, typer.Option("--json", help="As one JSON object.")]


def listed(edits: Any) -> list[dict[str, str]]:
    """Edits for JSON."""
    return [dict(zip(("name", "before", "after", "why"), edit, strict=True)) for edit in edits]


def show(
    answer: dict[str, Any],
    edits: Any,
    lines: Sequence[str],
    *,
    json: bool,
    written: Sequence[Path],
    dry_run: bool,
    notes: Sequence[str] = (),
) -> None:
    """Print the record of an operation, and what was written.

    Args:
        answer: what JSON has beside the edits.
        edits: the record.
        lines: what the terminal has behind the table.
        json: print one JSON object.
        written: the files.
        dry_run: they were not written.
        notes: what is to be said of the weights.
    """
    notes = list(notes)
    if not edits.changed and written:
        notes.append("nothing was changed: a file that is written holds the model as it was")
    if json:
        files = [] if dry_run else [str(file) for file in written]
        whole = answer | {"edits": listed(edits), "notes": [*edits.notes, *notes], "written": files}
        print(json_format.dumps(whole, ensure_ascii=False, indent=1))
        return
    print(edits)
    for note in notes:
        print(f"note: {note}")
    for line in lines:
        print(line)
    for file in written:
        print(f"{file}: not written (--dry-run)" if dry_run else f"written: {file}")


def pace(times: float) -> str:
    """A ratio of times in words.

    >>> pace(2.0), pace(0.5)
    ('a pass in evaluation is 2.00 times as fast', 'a pass in evaluation takes 2.00 times as long')
    """
    if times >= 1:
        return f"a pass in evaluation is {times:.2f} times as fast"
    return f"a pass in evaluation takes {1 / times:.2f} times as long"
