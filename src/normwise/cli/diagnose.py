"""`normwise diagnose`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from normwise.cli import diagnose_arguments as a
from normwise.cli.diagnose_output import checked_files, format_of, show
from normwise.cli.output_files import WEIGHTS
from normwise.cli.surgery_options import Model
from normwise.errors import ArgumentError, explain

if TYPE_CHECKING:
    from torch import nn

    from normwise.diagnose.choices import Training
    from normwise.diagnose.configuration import Configuration
    from normwise.diagnose.from_files import Found
    from normwise.results.diagnosis import Diagnosis

_WHO = "diagnose"


def diagnose(
    model: Model,
    data: a.Data = None,
    target: a.Target = None,
    raw: a.Raw = False,
    shape: a.Shape = None,
    outputs: a.Outputs = 10,
    model_args: a.ModelArgs = None,
    weights: a.Weights = None,
    loss: a.Loss = None,
    optimizer: a.Optimizer = None,
    lr: a.Lr = None,
    batch_size: a.BatchSize = 64,
    weight_decay: a.WeightDecay = None,
    steps: a.Steps = None,
    seed: a.Seed = 0,
    select: a.Select = None,
    ignore: a.Ignore = None,
    fix: a.Fix = False,
    unsafe: a.Unsafe = False,
    prove: a.Prove = False,
    seeds: a.Seeds = None,
    format: a.FormatName = None,
    out: a.Out = None,
    json: a.Json = False,
    verbose: a.Verbose = False,
) -> None:
    """Say why a network trains badly: the layer, the numbers, the remedy. Exit code 1 where something was found.

    With --data a short training is watched; with --shape alone structure and the flow of gradients at initialization
    are looked at, on random input. What a project selects, ignores and suppresses stands in the table "diagnose" of
    normwise.toml.
    """
    from normwise.cli.options import words

    files = checked_files(out or [], fix=fix)
    shown = format_of(format, json=json, files=files)
    sizes = _sizes(data, shape, target, raw=raw, prove=prove)
    _check_trials(fix=fix, unsafe=unsafe, prove=prove, seeds=seeds)
    configuration = _configuration()
    from normwise.diagnose.api import chosen
    from normwise.diagnose.choices import Training

    training = Training(
        loss,
        optimizer,
        lr,
        weight_decay,
        batch_size,
        steps if steps is not None else configuration.steps or a.STEPS,
        seed,
    )
    selected = tuple(words(select)) or configuration.select
    ignored = (*words(ignore), *configuration.ignore)
    chosen(selected, ignored)
    found = _found(model, model_args or [], data, target, sizes, outputs, training, raw=raw)
    if weights is not None:
        found = _with_weights(found, weights)
    diagnosis = _examined(found, selected, ignored, configuration)
    if prove:
        diagnosis = _proven(found, diagnosis, seeds)
    copy = found.subject.model
    if fix:
        diagnosis, copy = _fixed(found, diagnosis, unsafe)
    show(found, diagnosis, shown, _writers(files, diagnosis, copy), verbose=verbose)
    if diagnosis.findings:
        raise typer.Exit(1)


def _sizes(
    data: str | None, shape: str | None, target: str | None, *, raw: bool, prove: bool
) -> tuple[int, ...]:
    """The size of one sample; empty with data."""
    if (data is None) == (shape is None):
        got = "neither" if data is None else "both"
        hint = "--data train.csv --target y, or --shape 20 for the model alone"
        raise ArgumentError(explain(_WHO, "--data or --shape says what the model takes", got, hint))
    needing_data = {
        "--prove trains": prove,
        "--target is a column of data": target is not None,
        "--raw keeps the units of data": raw,
    }
    for option, given in needing_data.items():
        if data is None and given:
            raise ArgumentError(explain(_WHO, option, "no --data", "add --data"))
    parts = [] if shape is None else [part.strip() for part in shape.replace("x", ",").split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        must = "--shape must be whole numbers above 0"
        raise ArgumentError(explain(_WHO, must, repr(shape), "write --shape 20 or --shape 3,32,32"))
    return tuple(map(int, parts))


def _check_trials(*, fix: bool, unsafe: bool, prove: bool, seeds: int | None) -> None:
    if unsafe and not fix:
        raise ArgumentError(
            explain(_WHO, "--unsafe says which remedies --fix applies", "no --fix", "add --fix")
        )
    if seeds is not None:
        if not prove:
            raise ArgumentError(
                explain(_WHO, "--seeds says how often --prove trains", "no --prove", "add --prove")
            )
        from normwise.diagnose.prove import FEWEST

        if seeds < FEWEST:
            raise ArgumentError(explain(_WHO, f"--seeds must be at least {FEWEST}", str(seeds)))


def _configuration() -> Configuration:
    from normwise.cli.config import find_config
    from normwise.diagnose.configuration import Configuration, read_configuration

    config = find_config(Path.cwd(), _WHO)
    return Configuration() if config.path is None else read_configuration(config.diagnose, config.path.name)


def _found(
    model: str,
    model_args: Sequence[str],
    data: str | None,
    target: str | None,
    sizes: tuple[int, ...],
    outputs: int,
    training: Training,
    *,
    raw: bool,
) -> Found:
    from normwise.diagnose.from_files import parsed_arguments, with_data, with_shape
    from normwise.models import load_user_model
    from normwise.models.user_guard import stdout_to_stderr

    arguments = parsed_arguments(model_args)
    with stdout_to_stderr():
        user = load_user_model(model, arguments)
        if data is None:
            return with_shape(user, sizes, outputs, training)
        from normwise.data import load

        return with_data(user, load(data, target=target), training, raw=raw)


def _with_weights(found: Found, weights: Path) -> Found:
    """The model with weights of a file; trials then begin from these."""
    from normwise.cli.model_file import load_weights

    said = load_weights(_WHO, found.user.title, found.subject.model, weights)
    return replace(found, subject=replace(found.subject, build=None), notes=(*found.notes, *said))


def _examined(
    found: Found, select: Sequence[str], ignore: Sequence[str], configuration: Configuration
) -> Diagnosis:
    from normwise.diagnose.api import examine
    from normwise.diagnose.from_files import explained
    from normwise.diagnose.suppress import suppressed
    from normwise.models.user_guard import stdout_to_stderr

    if found.subject.data is not None:
        print(f"training {found.subject.steps} steps…", file=sys.stderr)
    with stdout_to_stderr(), explained(found):
        diagnosis = examine(found.subject, select=select, ignore=ignore)
    diagnosis = replace(diagnosis, notes=(*found.notes, *diagnosis.notes))
    return suppressed(diagnosis, configuration.suppress)


def _proven(found: Found, diagnosis: Diagnosis, seeds: int | None) -> Diagnosis:
    from rich.console import Console

    from normwise.diagnose.from_files import explained
    from normwise.diagnose.prove import FEWEST, prove
    from normwise.models.user_guard import stdout_to_stderr

    words = "trying the remedies in paired trainings"
    with stdout_to_stderr(), Console(stderr=True).status(words) as status, explained(found):
        proofs = prove(
            found.subject,
            diagnosis.findings,
            seeds=FEWEST if seeds is None else seeds,
            progress=lambda done, total: status.update(f"{words}: {done} of {total}"),
        )
    note = () if proofs else ("nothing to prove: no finding has a remedy that can be applied",)
    return replace(diagnosis, proofs=proofs, notes=(*diagnosis.notes, *note))


def _fixed(found: Found, diagnosis: Diagnosis, unsafe: bool) -> tuple[Diagnosis, nn.Module]:
    """Apply remedies to a copy; the notes tell which, and why others are left."""
    from normwise.diagnose.fix import apply_all
    from normwise.diagnose.from_files import explained, setup_of
    from normwise.models.user_guard import stdout_to_stderr
    from normwise.results.diagnosis_words import place

    with stdout_to_stderr(), explained(found):
        fixed = apply_all(setup_of(found), diagnosis, unsafe=unsafe)
    notes = [f"fixed in a copy: {each.code} at {place(each.layer)}" for each in fixed.applied]
    notes += [f"not fixed: {each.code} at {place(each.layer)}: {why}" for each, why in fixed.left]
    if fixed.setup.model.state_dict().keys() != found.subject.model.state_dict().keys():
        lines = "; ".join(line.partition("  #")[0] for each in fixed.applied for line in each.code_lines)
        notes.append(f"the fixed weights have other names: they load into the model after {lines}")
    return replace(diagnosis, notes=(*diagnosis.notes, *notes)), fixed.setup.model


def _writers(
    files: Sequence[Path], diagnosis: Diagnosis, model: nn.Module
) -> dict[Path, Callable[[Path], object]]:
    """What writes each file: weights of the model, or the diagnosis in the form of the ending."""
    from normwise.cli.model_file import write_weights
    from normwise.report.diagnosis_write import write_diagnosis

    return {
        file: partial(write_weights, model) if file.suffix in WEIGHTS else partial(write_diagnosis, diagnosis)
        for file in files
    }
