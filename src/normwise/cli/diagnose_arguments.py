"""The options of `normwise diagnose`, each with its words for the help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from normwise.cli.complete import columns, data_names

STEPS = 200
"""Of the short training, where nothing else is said."""

_INPUT, _TRAINING, _RULES, _ANSWER = "The input", "The training", "The rules", "The answer"


def _option(help: str, panel: str, *names: str, complete: Callable[..., Any] | None = None) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, autocompletion=complete)


Data = Annotated[
    str | None,
    _option(
        "Data by name or path, prepared as `compare` prepares it: a table (with --target), a folder of images, .npz, "
        "or a name from `normwise list data`.",
        _INPUT,
        complete=data_names,
    ),
]
Target = Annotated[str | None, _option("The data's column to predict.", _INPUT, complete=columns)]
Raw = Annotated[
    bool,
    _option(
        "The data in the units of the file: not standardised, as your program may train on it.",
        _INPUT,
        "--raw",
    ),
]
Shape = Annotated[
    str | None,
    _option("Instead of data the size of one sample, such as 20 or 3,32,32: random input.", _INPUT),
]
Outputs = Annotated[int, _option("With --shape: outputs, where the builder asks for them.", _INPUT)]
ModelArgs = Annotated[list[str] | None, _option("Arguments of the builder, name=value; repeatable.", _INPUT)]
Weights = Annotated[Path | None, _option("Weights to load: .safetensors, .pt or .pth.", _INPUT)]

Loss = Annotated[
    str | None,
    _option(
        "cross_entropy, nll, bce, bce_with_logits, mse, l1 or huber, as torch has them; told from target and model by "
        "default.",
        _TRAINING,
    ),
]
Optimizer = Annotated[str | None, _option("sgd (momentum 0.9), adam (the default) or adamw.", _TRAINING)]
Lr = Annotated[float | None, _option("Learning rate; 0.001 by default, 0.01 of sgd.", _TRAINING)]
BatchSize = Annotated[int, _option("Rows in a batch.", _TRAINING)]
WeightDecay = Annotated[float | None, _option("Of the optimizer; spares norms and biases.", _TRAINING)]
Steps = Annotated[int | None, _option(f"Length of the short training; {STEPS} by default.", _TRAINING)]
Seed = Annotated[int, _option("Of split, initial weights and order of the rows.", _TRAINING)]

Select = Annotated[
    list[str] | None,
    _option("Only these rules: NW1,NW501 or names; see `normwise rule --all`. Repeatable.", _RULES),
]
Ignore = Annotated[list[str] | None, _option("Not these rules. Repeatable.", _RULES)]

Fix = Annotated[
    bool,
    _option("Apply safe remedies to a copy of the model; -o FILE.safetensors keeps it.", _ANSWER, "--fix"),
]
Unsafe = Annotated[bool, _option("With --fix: also remedies that change the training.", _ANSWER, "--unsafe")]
Prove = Annotated[
    bool,
    _option(
        "Try the remedies in paired trainings against no change and another learning rate.",
        _ANSWER,
        "--prove",
    ),
]
Seeds = Annotated[int | None, _option("Of --prove: at least 5, and 5 by default.", _ANSWER)]
FormatName = Annotated[str | None, _option("On stdout: text, json, github or html.", _ANSWER, "--format")]
Out = Annotated[
    list[Path] | None,
    _option(
        "Write it there as well: .html, .json or .txt; with --fix also weights. Repeatable.",
        _ANSWER,
        "--out",
        "-o",
    ),
]
Json = Annotated[bool, _option("As one JSON object.", _ANSWER, "--json")]
Verbose = Annotated[
    bool, _option("Name every rule that was asked, show all lines of code.", _ANSWER, "--verbose", "-v")
]
