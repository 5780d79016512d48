"""The options of `normwise compare`, each with its words for the help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from normwise.cli.complete import augmentations, columns, data_names, initializations, metrics, norms, studies

_DATA, _QUESTION, _TRAINING, _RUN = "The data", "The question", "The training", "The run"


def _option(help: str, panel: str, *names: str, complete: Callable[..., Any] | None = None) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, autocompletion=complete)


Data = Annotated[
    str | None,
    typer.Argument(
        help="A table (CSV, TSV, Parquet; with --target), a folder of images (one sub-folder a class, or train/ val/ "
        "test/), .npz, an IDX folder; or a name from `normwise list data`. digits by default.",
        show_default=False,
        autocompletion=data_names,
    ),
]
Target = Annotated[str | None, _option("The column to predict.", _DATA, complete=columns)]
TaskName = Annotated[
    str | None, _option("classification or regression; told from the target by default.", _DATA)
]
Drop = Annotated[
    list[str] | None,
    _option("Columns to leave away. Repeat or separate by commas.", _DATA, complete=columns),
]
Group = Annotated[
    str | None,
    _option("A column such as a patient or a user: its rows stay in one part.", _DATA, complete=columns),
]
Time = Annotated[
    str | None,
    _option(
        "A column of dates or numbers: train on the oldest rows, test on the newest.", _DATA, complete=columns
    ),
]
TestData = Annotated[Path | None, _option("A second table, used as the test part.", _DATA)]
ImageSize = Annotated[
    int | None, _option("Longer side of the images in pixels; the commonest, at most 64, by default.", _DATA)
]
Metric = Annotated[
    str | None,
    _option(
        "accuracy, balanced_accuracy, macro_f1, auc, log_loss; rmse, mae, r2. AUC or macro-F1 by default where a "
        "class is rare.",
        _DATA,
        complete=metrics,
    ),
]
Margin = Annotated[
    float | None,
    _option(
        "Differences of the metric within ± margin count as none, in its own unit (0.5 for half a percentage point).",
        _DATA,
    ),
]
Goal = Annotated[
    float | None,
    _option(
        "Validation metric that speed is measured to, in its own unit (95 for an accuracy of 95 %); by default what "
        "the baseline reaches.",
        _DATA,
    ),
]

StudyName = Annotated[
    str | None,
    _option(
        "A question by name: norm (the default), regularize, init, batch, position, depth; see `normwise list "
        "studies`. Options beside it win.",
        _QUESTION,
        complete=studies,
    ),
]
Preset = Annotated[
    str | None,
    _option("article: the network that tutorials show, on breast_cancer's first 20 columns.", _QUESTION),
]
Norm = Annotated[
    list[str] | None,
    _option(
        "Normalizations: none, batch, layer, group, group:4, instance, rms, weight, which are compared by default, or "
        "any of `normwise list norms`. Repeat or separate by commas, as with every option that takes several values.",
        _QUESTION,
        complete=norms,
    ),
]
PositionName = Annotated[list[str] | None, _option("Normalize before or after the activation.", _QUESTION)]
DropoutRate = Annotated[list[str] | None, _option("Drop rates.", _QUESTION)]
L1Strength = Annotated[list[str] | None, _option("Strengths of the L1 penalty.", _QUESTION, "--l1")]
L2Strength = Annotated[list[str] | None, _option("Strengths of the L2 penalty.", _QUESTION, "--l2")]
WeightDecay = Annotated[
    list[str] | None, _option("Weight decay of the optimizer; spares norms and biases.", _QUESTION)
]
Augment = Annotated[
    list[str] | None,
    _option(
        "Augmentations: none; of images flip, shift, rotate, scale, crop, brightness, erase, randaugment, "
        "trivialaugment, augmix, cutmix, mosaic; of tables swap, drop; of both noise, mixup; several at once joined "
        "by +, as in shift+rotate.",
        _QUESTION,
        complete=augmentations,
    ),
]
VariantText = Annotated[
    list[str] | None,
    _option(
        "One variant in full, instead of the product of the options above: norm=batch,dropout=0.2,position=after. "
        "Repeat.",
        _QUESTION,
    ),
]
Baseline = Annotated[str | None, _option("Name of the variant to hold the others against.", _QUESTION)]

Model = Annotated[
    str | None,
    _option(
        "Your own network, file.py:name or pkg.mod:name: a function build(norm=…, activation=…, in_features=…, "
        "out_features=…), each parameter optional, or an nn.Module.",
        _TRAINING,
    ),
]
ModelArgs = Annotated[list[str] | None, _option("Further arguments of it: width=128. Repeat.", _TRAINING)]
NetworkName = Annotated[list[str] | None, _option("mlp, cnn; compared apart.", _TRAINING)]
Width = Annotated[list[str] | None, _option("Hidden widths of the mlp, first to last.", _TRAINING)]
Channels = Annotated[list[str] | None, _option("Channels of the cnn's blocks, first to last.", _TRAINING)]
Head = Annotated[list[str] | None, _option("Hidden widths of the cnn behind its blocks.", _TRAINING)]
Reduce = Annotated[
    str | None,
    _option("How the cnn goes from positions to features: average or flatten.", _TRAINING),
]
Activation = Annotated[str | None, _option("relu, leaky_relu, gelu, silu, tanh or sigmoid.", _TRAINING)]
Residual = Annotated[bool, _option("Residual connections in the cnn.", _TRAINING)]
Init = Annotated[
    list[str] | None,
    _option(
        "Initializations, the main one first: he, xavier, orthogonal, lsuv, gaussian, own (as your model draws), each "
        "with a factor as in he:0.1.",
        _TRAINING,
        complete=initializations,
    ),
]
Lr = Annotated[list[str] | None, _option("Grid of learning rates that all variants scan.", _TRAINING)]
BatchSize = Annotated[list[str] | None, _option("Batch sizes.", _TRAINING)]
Depth = Annotated[
    list[str] | None,
    _option(
        "Numbers of hidden layers or blocks: the network's first widths, the last one repeated.", _TRAINING
    ),
]
TrainShare = Annotated[
    list[str] | None, _option("Shares of the training rows to train on: 1,0.25.", _TRAINING)
]
Optimizer = Annotated[list[str] | None, _option("sgd (momentum 0.9), adam, adamw.", _TRAINING)]
Steps = Annotated[int | None, _option("Length of a training in steps.", _TRAINING)]
Epochs = Annotated[float | None, _option("Length of a training in epochs.", _TRAINING)]

DryRun = Annotated[bool, _option("Show the plan and how long it takes, and stop.", _RUN, "--dry-run")]
Budget = Annotated[
    str | None,
    _option(
        "Time to keep within, such as 90s, 3m (the default), 1h, or none: sheds initializations, then variants, then "
        "steps, never seeds.",
        _RUN,
    ),
]
Quick = Annotated[bool, _option("A first look: three seeds, numbers without verdicts.", _RUN, "--quick")]
Thorough = Annotated[bool, _option("Twenty seeds, and no budget unless one is given.", _RUN, "--thorough")]
Seeds = Annotated[int | None, _option("Fresh seeds; more on a finished run extend it.", _RUN)]
ScanSeeds = Annotated[int | None, _option("Other seeds that learning rates are chosen on.", _RUN)]
SpecFile = Annotated[
    Path | None,
    _option(
        "A TOML file with the question (norms, lrs, batch_sizes, seeds, …; see the README), or the run.json of a run; "
        "options given here win. Without it normwise.toml or \\[tool.normwise] of pyproject.toml is read, if there is "
        "one here or above.",
        _RUN,
    ),
]
Out = Annotated[
    Path | None,
    _option(
        "Run directory; by default one in runs/ named after the question. The same question goes on where it stopped.",
        _RUN,
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Trainings side by side.", rich_help_panel=_RUN)]
Json = Annotated[
    bool, _option("Print the comparison (with --dry-run the plan) as JSON on stdout.", _RUN, "--json")
]
