"""`normwise compare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from normwise.cli import arguments as a
from normwise.cli.config import OF_THE_DATA, Config, find_config
from normwise.cli.options import decimals, integers, read_spec, words
from normwise.errors import ArgumentError, UnknownNameError, explain, unknown_name

Value = TypeVar("Value")

QUICK_SEEDS, THOROUGH_SEEDS = 3, 20
RUN_FIELDS = ("out", "workers", "budget")
"""Fields of a configuration that are not of the question."""


def compare(
    data: a.Data = None,
    target: a.Target = None,
    task: a.TaskName = None,
    drop: a.Drop = None,
    group: a.Group = None,
    time: a.Time = None,
    test_data: a.TestData = None,
    image_size: a.ImageSize = None,
    metric: a.Metric = None,
    margin: a.Margin = None,
    goal: a.Goal = None,
    study: a.StudyName = None,
    preset: a.Preset = None,
    norm: a.Norm = None,
    position: a.PositionName = None,
    dropout: a.DropoutRate = None,
    l1: a.L1Strength = None,
    l2: a.L2Strength = None,
    weight_decay: a.WeightDecay = None,
    augment: a.Augment = None,
    variant: a.VariantText = None,
    baseline: a.Baseline = None,
    model: a.Model = None,
    model_args: a.ModelArgs = None,
    network: a.NetworkName = None,
    width: a.Width = None,
    channels: a.Channels = None,
    head: a.Head = None,
    reduce: a.Reduce = None,
    activation: a.Activation = None,
    residual: a.Residual = False,
    init: a.Init = None,
    lr: a.Lr = None,
    batch_size: a.BatchSize = None,
    depth: a.Depth = None,
    train_share: a.TrainShare = None,
    optimizer: a.Optimizer = None,
    steps: a.Steps = None,
    epochs: a.Epochs = None,
    dry_run: a.DryRun = False,
    budget: a.Budget = None,
    quick: a.Quick = False,
    thorough: a.Thorough = False,
    seeds: a.Seeds = None,
    scan_seeds: a.ScanSeeds = None,
    spec: a.SpecFile = None,
    out: a.Out = None,
    workers: a.Workers = None,
    json: a.Json = False,
) -> None:
    """Train the same network with different normalizations and regularizers and report what helps.

    With nothing else: the digits data, a multilayer perceptron and a convolutional network, every normalization. Shows
    the plan and how long it takes, then trains; ends in an HTML report. Interrupted, the same command goes on where it
    stopped.
    """
    from normwise.cli.question import initializations, networks, variants
    from normwise.compare.spec import Spec, make_spec

    given = {
        name: value
        for name, value in {
            "data": data,
            "target": target,
            "task": task,
            "drop": words(drop),
            "group": group,
            "time": time,
            "test_data": None if test_data is None else str(test_data),
            "image_size": image_size,
            "study": _study(study, preset),
            "activation": activation,
            "baseline": baseline,
            "metric": metric,
            "goal": goal,
            "margin": margin,
            "steps": steps,
            "epochs": epochs,
            **_amount(quick=quick, thorough=thorough, seeds=seeds, scan_seeds=scan_seeds),
            "lrs": decimals("--lr", lr),
            "batch_sizes": integers("--batch-size", batch_size),
            "depths": integers("--depth", depth),
            "train_shares": decimals("--train-share", train_share),
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
                own_model=model is not None,
            ),
            "networks": networks(
                network,
                model=model,
                model_args=model_args,
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
    asked = read_spec(spec) if spec is not None else {}
    resolved = asked.pop("resolved", None)
    config = find_config(Path.cwd()) if spec is None else Config({}, None)
    fields, run_fields = _merged(config, asked, given)
    try:
        question = make_spec(fields)
    except (ArgumentError, UnknownNameError) as error:
        if config.path is None:
            raise
        raise type(error)(f"{error} Defaults come from {config.path}.") from None
    limit = budget if budget is not None else run_fields.get("budget")
    # Everything above answers a wrong option at once; from here on torch is imported.
    from normwise.cli.answer import Asked, answer

    answer(
        Asked(
            question,
            out=out or _from_file(run_fields, "out", str, "the name of a directory", Path),
            workers=workers or _from_file(run_fields, "workers", int, "a number from 1 on", int),
            budget=_limit(limit, thorough=thorough),
            strict_budget=budget is not None,
            resolved=Spec.model_validate(resolved) if resolved and set(given) <= {"seeds"} else None,
            config=config.path,
        ),
        dry_run=dry_run,
        as_json=json,
    )


def _study(study: str | None, preset: str | None) -> str | None:
    """A preset is a study that brings its data."""
    if preset is None:
        return study
    if study is not None:
        raise ArgumentError(
            explain("compare", "`--preset` is a whole question", "--study beside it", "leave one away")
        )
    if preset != "article":
        raise unknown_name("compare", "preset", preset, ["article"])
    return preset


def _amount(*, quick: bool, thorough: bool, seeds: int | None, scan_seeds: int | None) -> dict[str, Any]:
    """Seeds and how they are to be read."""
    if quick + thorough + (seeds is not None) > 1:
        raise ArgumentError(
            explain(
                "compare",
                "`--quick` (3 seeds), `--thorough` (20) and `--seeds` each say how many seeds",
                "more than one of them",
                "leave all but one away",
            )
        )
    if quick:
        return {"seeds": QUICK_SEEDS, "scan_seeds": scan_seeds or QUICK_SEEDS, "exploratory": True}
    return {"seeds": THOROUGH_SEEDS if thorough else seeds, "scan_seeds": scan_seeds}


def _merged(
    config: Config, asked: dict[str, Any], given: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Command line over file over configuration; fields of the question, and fields of the run."""
    base = dict(config.fields)
    run_fields = {name: base.pop(name) for name in RUN_FIELDS if name in base}
    run_fields |= {name: asked.pop(name) for name in RUN_FIELDS if name in asked}
    for upper in (asked, given):
        if "data" in upper and base.get("data") not in (None, upper["data"]):
            base = {name: value for name, value in base.items() if name not in OF_THE_DATA}
        # What is given above replaces what the file says of the same thing under another name.
        for name, other in (
            ("variants", "norms"),
            ("norms", "variants"),
            ("steps", "epochs"),
            ("epochs", "steps"),
        ):
            if name in upper and other not in upper:
                base.pop(other, None)
        base |= upper
    return base, run_fields


def _from_file(
    fields: dict[str, Any], name: str, kind: type, must: str, convert: Callable[[Any], Value]
) -> Value | None:
    """A field of the run from a configuration file, if it is there."""
    value = fields.get(name)
    if value is None:
        return None
    wrong = not isinstance(value, kind) or isinstance(value, bool)
    if wrong or (isinstance(value, int) and value < 1):
        raise ArgumentError(explain("compare", f"`{name}` of a configuration must be {must}", repr(value)))
    return convert(value)


def _limit(text: object, *, thorough: bool) -> float | None:
    """Seconds to keep within; None is no limit."""
    from normwise.cli.durations import parse_budget
    from normwise.compare.spec import DEFAULT_BUDGET

    if text is not None:
        return parse_budget(str(text))
    return None if thorough else DEFAULT_BUDGET
