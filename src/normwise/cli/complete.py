"""What the shell proposes where a name is expected; nothing here imports torch."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import typer

DATA_NAMES = ("digits", "breast_cancer", "wine", "diabetes", "mnist5k", "fashion-mnist")
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auc", "log_loss", "rmse", "mae", "r2")


def _starting(names: Iterable[str], typed: str) -> list[str]:
    """Names that begin as what was typed does, behind the last comma of it."""
    head, comma, last = typed.rpartition(",")
    return [head + comma + name for name in names if name.startswith(last)]


def data_names(incomplete: str) -> list[str]:
    """Known data sets; files and folders are the shell's own business."""
    return _starting(DATA_NAMES, incomplete)


def norms(incomplete: str) -> list[str]:
    """Normalizations."""
    from normwise.norms import KINDS, OWN

    return _starting([*KINDS, OWN], incomplete)


def augmentations(incomplete: str) -> list[str]:
    """Augmentations."""
    from normwise.compare.variant import AUGMENTATIONS

    return _starting(("none", *AUGMENTATIONS), incomplete)


def initializations(incomplete: str) -> list[str]:
    """Schemes."""
    from normwise.compare.variant import SCHEMES

    return _starting(SCHEMES, incomplete)


def studies(incomplete: str) -> list[str]:
    """Studies."""
    from normwise.compare.spec import STUDIES

    return _starting(STUDIES, incomplete)


def metrics(incomplete: str) -> list[str]:
    """Metrics."""
    return _starting(METRICS, incomplete)


def columns(context: typer.Context, incomplete: str) -> list[str]:
    """Columns of the CSV file that was named, read from its first line."""
    # While an option waits for its value, what stands before it is not parsed into parameters yet.
    path = Path(str(context.params.get("data") or next(iter(context.args), "")))
    if path.suffix.lower() not in (".csv", ".tsv") or not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
    except (OSError, UnicodeDecodeError):
        return []
    separator = max(",;\t|", key=first.count)
    names = next(csv.reader([first], delimiter=separator), [])
    return _starting((name.strip() for name in names), incomplete)
