"""`normwise compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normwise.cli.options import decimals, integers, read_spec, words

_QUESTION, _TRAINING, _RUN = "The question", "The training", "The run"


def compare(
    data: Annotated[
        str | None,
        typer.Argument(
            help="digits (the default), breast_cancer, wine, diabetes, mnist5k, fashion-mnist; or a path: CSV or "
            "Parquet (with --target), .npz, an IDX folder, a folder of images with one sub-folder a class.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The column to predict.", rich_help_panel=_QUESTION)
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="classification or regression; told from the target by default.", rich_help_panel=_QUESTION
        ),
    ] = None,
    norm: Annotated[
        list[str] | None,
        typer.Option(
            help="Normalizations: none, batch, layer, group, group:4, instance, rms, weight. Repeat or separate by "
            "commas, as with every option that takes several values.",
            rich_help_panel=_QUESTION,
        ),
    ] = None,
    position: Annotated[
        list[str] | None,
        typer.Option(help="Normalize before or after the activation.", rich_help_panel=_QUESTION),
    ] = None,
    dropout: Annotated[list[str] | None, typer.Option(help="Drop rates.", rich_help_panel=_QUESTION)] = None,
    l1: Annotated[
        list[str] | None,
        typer.Option("--l1", help="Strengths of the L1 penalty.", rich_help_panel=_QUESTION),
    ] = None,
    l2: Annotated[
        list[str] | None,
        typer.Option("--l2", help="Strengths of the L2 penalty.", rich_help_panel=_QUESTION),
    ] = None,
    weight_decay: Annotated[
        list[str] | None,
        typer.Option(
            help="Weight decay of the optimizer; spares norms and biases.", rich_help_panel=_QUESTION
        ),
    ] = None,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            help="Image augmentations: none, flip, shift, rotate, scale, crop, brightness, erase; several at once "
            "joined by +, as in shift+rotate.",
            rich_help_panel=_QUESTION,
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="One variant in full, instead of the product of the options above: "
            "norm=batch,dropout=0.2,position=after. Repeat.",
            rich_help_panel=_QUESTION,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Name of the variant to hold the others against.", rich_help_panel=_QUESTION),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="accuracy, balanced_accuracy, macro_f1, log_loss; rmse, mae, r2.", rich_help_panel=_QUESTION
        ),
    ] = None,
    goal: Annotated[
        float | None,
        typer.Option(
            help="Validation metric that speed is measured to, in its own unit (95 for an accuracy of 95 %); by "
            "default what the baseline reaches.",
            rich_help_panel=_QUESTION,
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Differences of the metric within ± margin count as none, in its own unit (0.5 for half a "
            "percentage point).",
            rich_help_panel=_QUESTION,
        ),
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="mlp, cnn; compared apart.", rich_help_panel=_TRAINING)
    ] = None,
    width: Annotated[
        list[str] | None,
        typer.Option(help="Hidden widths of the mlp, first to last.", rich_help_panel=_TRAINING),
    ] = None,
    channels: Annotated[
        list[str] | None,
        typer.Option(help="Channels of the cnn's blocks, first to last.", rich_help_panel=_TRAINING),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(help="Hidden widths of the cnn behind its blocks.", rich_help_panel=_TRAINING),
    ] = None,
    reduce: Annotated[
        str | None,
        typer.Option(
            help="How the cnn goes from positions to features: average or flatten.", rich_help_panel=_TRAINING
        ),
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(help="relu, leaky_relu, gelu, silu, tanh or sigmoid.", rich_help_panel=_TRAINING),
    ] = None,
    residual: Annotated[
        bool, typer.Option(help="Residual connections in the cnn.", rich_help_panel=_TRAINING)
    ] = False,
    init: Annotated[
        list[str] | None,
        typer.Option(
            help="Initializations, the main one first: he, xavier, orthogonal, lsuv, gaussian, each with a factor as "
            "in he:0.1.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    lr: Annotated[
        list[str] | None,
        typer.Option(
            "--lr", help="Grid of learning rates that all variants scan.", rich_help_panel=_TRAINING
        ),
    ] = None,
    batch_size: Annotated[
        list[str] | None, typer.Option(help="Batch sizes.", rich_help_panel=_TRAINING)
    ] = None,
    depth: Annotated[
        list[str] | None,
        typer.Option(
            help="Numbers of hidden layers or blocks: the network's first widths, the last one repeated.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    optimizer: Annotated[
        list[str] | None,
        typer.Option(help="sgd (momentum 0.9), adam, adamw.", rich_help_panel=_TRAINING),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Length of a training in steps.", rich_help_panel=_TRAINING)
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Length of a training in epochs.", rich_help_panel=_TRAINING)
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Fresh seeds; more on a finished run extend it.", rich_help_panel=_RUN),
    ] = None,
    scan_seeds: Annotated[
        int | None, typer.Option(help="Other seeds that learning rates are chosen on.", rich_help_panel=_RUN)
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with the question (norms, lrs, batch_sizes, seeds, …; see the README), or the run.json "
            "of a run; options given here win.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run directory; by default one in runs/ named after the question. The same question goes on where it "
            "stopped.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings side by side.", rich_help_panel=_RUN)
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Train the same network with different normalizations and regularizers and report what helps.

    With nothing else: the digits data, a multilayer perceptron and a convolutional network, every normalization.
    Ends in an HTML report; interrupted, the same command goes on where it stopped.
    """
    from normwise.cli.question import initializations, networks, variants
    from normwise.compare.spec import make_spec

    asked = read_spec(spec)
    given = {
        name: value
        for name, value in {
            "data": data,
            "target": target,
            "task": task,
            "activation": activation,
            "baseline": baseline,
            "metric": metric,
            "goal": goal,
            "margin": margin,
            "steps": steps,
            "epochs": epochs,
            "seeds": seeds,
            "scan_seeds": scan_seeds,
            "lrs": decimals("--lr", lr),
            "batch_sizes": integers("--batch-size", batch_size),
            "depths": integers("--depth", depth),
            "optimizers": words(optimizer),
            "initializations": initializations(init),
            "variants": variants(
                variant,
                norm=norm,
                position=position,
                dropout=dropout,
                l1=l1,
                l2=l2,
                weight_decay=weight_decay,
                augment=augment,
            ),
            "networks": networks(
                network,
                width=width,
                channels=channels,
                head=head,
                reduce=reduce,
                activation=activation,
                residual=residual,
            ),
        }.items()
        if value not in (None, [])
    }
    # What is given here replaces what the file says of the same thing under another name.
    for name, other in (("variants", "norms"), ("steps", "epochs"), ("epochs", "steps")):
        if name in given and other not in given:
            asked.pop(other, None)
    question = make_spec(asked | given)
    # Everything above answers a wrong option at once; from here on torch is imported.
    from normwise.cli.answer import answer

    answer(question, out=out, workers=workers, as_json=json)
