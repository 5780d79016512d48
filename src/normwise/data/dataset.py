"""A data set as it was understood, and its splits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from normwise.data.classes import check_taught, without_lonely
from normwise.data.contents import Contents, ImageContents, Rows, feed_array
from normwise.data.prepare import prepare
from normwise.data.split import (
    DEFAULT_FRACTIONS,
    TEST,
    VALIDATION,
    Dealing,
    Fractions,
    split_rows,
    take,
)
from normwise.data.task import Target, Task
from normwise.data.wording import count, image_words
from normwise.errors import DataError, explain

FixedParts = Literal["none", "test", "all"]
Kind = Literal["table", "image", "array"]

FEWEST_ROWS = 10


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a split.

    Attributes:
        inputs: float32, (N, F) for columns or (N, C, H, W) for images.
        targets: (N,), class indices in int64, or standardised numbers in float32.
    """

    inputs: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Training, validation and test part for one seed.

    Attributes:
        train: the part that statistics come from.
        validation: the part to choose by.
        test: the part to report.
        in_shape: shape of one input, (F,) or (C, H, W). For columns F can depend on the seed: categories and
            constant columns are those of the training part.
        out_features: number of classes, or 1 for regression.
        target_mean: what to add to a prediction times `target_std` to have the target's own units; 0 for
            classes.
        target_std: see `target_mean`; 1 for classes.
        notes: what was imputed, encoded and dropped on this split.
    """

    train: Part
    validation: Part
    test: Part
    in_shape: tuple[int, ...]
    out_features: int
    target_mean: float
    target_std: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """Data as it was understood; `split` makes tensors of it.

    Attributes:
        name: short name, such as "digits" or the file's stem.
        source: where it came from: a library's function or a path.
        kind: "table" (columns), "image", or "array" (columns of an array, without names).
        task: what the target asks for.
        task_reason: why this task.
        classes: names in the order of their indices; empty for regression.
        target: name of the target.
        inputs: the inputs in words, "64 numeric columns" or "8×8 grey images".
        rows: number of usable rows.
        notes: what was understood, ignored or dropped while reading.
        in_shape: (C, H, W) for images; None for columns, whose number depends on the split.
        fingerprint: sha256 in hexadecimal over inputs, targets and what the data says about dealing its rows.
        warnings: what may make every number from this data wrong, the worst first.
        class_counts: rows of each class, in the order of `classes`; empty for regression.
    """

    name: str
    source: str
    kind: Kind
    task: Task
    task_reason: str
    classes: tuple[str, ...]
    target: str
    inputs: str
    rows: int
    notes: tuple[str, ...]
    in_shape: tuple[int, ...] | None
    fingerprint: str
    warnings: tuple[str, ...]
    class_counts: tuple[int, ...]
    _contents: Contents = field(repr=False, compare=False)
    _target: Target = field(repr=False, compare=False)
    _dealing: Dealing = field(repr=False, compare=False)

    @property
    def fixed_parts(self) -> FixedParts:
        """Which parts of a split are the same whatever the seed: none, the test part, or all of them."""
        dealing = self._dealing
        if dealing.order is not None:
            return "all"
        if dealing.fixed is None or not (dealing.fixed == TEST).any():
            return "none"
        return "all" if (dealing.fixed == VALIDATION).any() else "test"

    def sizes(self) -> tuple[int, int, int]:
        """Rows of train, validation and test of a whole split; nothing is prepared."""
        dealt = split_rows(self._dealing, 0, fractions=DEFAULT_FRACTIONS)
        return len(dealt.train), len(dealt.validation), len(dealt.test)

    def split(
        self,
        seed: int,
        *,
        fractions: Fractions = DEFAULT_FRACTIONS,
        most: tuple[int, int, int] | None = None,
        train_share: float = 1.0,
        standardise: bool = True,
    ) -> Split:
        """Deal the rows by seed, stratified by class; prepare all with statistics of the training rows.

        Args:
            seed: at least 0; the same seed gives the same tensors.
            fractions: of train, validation and test, with sum 1. A data set with a fixed test part keeps it,
                and train and validation share the rest in the ratio of their fractions.
            most: at most so many rows of train, validation and test are prepared, others with each seed; None
                for all.
            train_share: the share of those training rows that is used, of each class in proportion; a smaller
                share is contained in a larger one. Validation and test do not depend on it.
            standardise: whether numbers, pixels and a target of numbers get the mean 0 and the standard deviation 1
                of the training part; otherwise they keep the units of the file.

        Raises:
            ArgumentError: a negative seed, bad fractions, `most` or share.
            DataError: a part would be empty, or nothing varies in the training part.

        >>> from normwise.data import load
        >>> split = load("digits").split(seed=0)
        >>> split.train.inputs.shape, split.train.targets.dtype, split.in_shape, split.out_features
        (torch.Size([1079, 1, 8, 8]), torch.int64, (1, 8, 8), 10)
        """
        dealt = split_rows(self._dealing, seed, fractions=fractions)
        rows = take(dealt, self._dealing.labels, most=most, train_share=train_share)
        inputs = prepare(self._contents, rows, standardise=standardise)
        mean, std = self._target_moments(rows.train)
        if not standardise:
            mean, std = 0.0, 1.0

        def part(block: torch.Tensor, index: Rows) -> Part:
            values = self._target.values[index]
            if self.task == "regression":
                return Part(block, torch.from_numpy(((values - mean) / std).astype(np.float32)))
            return Part(block, torch.from_numpy(values))

        return Split(
            train=part(inputs.train, rows.train),
            validation=part(inputs.validation, rows.validation),
            test=part(inputs.test, rows.test),
            in_shape=tuple(inputs.train.shape[1:]),
            out_features=len(self.classes) if self.task == "classification" else 1,
            target_mean=mean,
            target_std=std,
            notes=inputs.notes,
        )

    def _target_moments(self, train: Rows) -> tuple[float, float]:
        if self.task == "classification":
            return 0.0, 1.0
        values = self._target.values[train]
        mean, std = float(values.mean()), float(values.std())
        if std <= 1e-12 * float(np.abs(values).max()):
            raise DataError(
                explain(
                    "split",
                    f"the target {self.target!r} must vary in the training part",
                    f"{mean:g} in each of its {count(len(train), 'row')}",
                    "bring more rows",
                )
            )
        return mean, std


def assemble(
    *,
    name: str,
    source: str,
    kind: Kind,
    contents: Contents,
    target: Target,
    notes: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
    fixed: npt.NDArray[np.int8] | None = None,
    groups: npt.NDArray[np.int64] | None = None,
    order: npt.NDArray[np.float64] | None = None,
) -> Dataset:
    """Check what every reader must guarantee, and put the data set together.

    `fixed`, `groups` and `order` (N,) are those of `Dealing`; notes and warnings come most important first.
    Classes of a single row are left out with a warning.

    Raises:
        DataError: fewer than 10 rows, fewer than two classes of two rows, a class of the fixed test part that
            never trains, a part without rows.
    """
    check_rows(name, contents.rows)
    target, kept, warning = without_lonely(target)
    if kept is not None:
        contents = contents.take(np.flatnonzero(kept))
        fixed = None if fixed is None else fixed[kept]
        groups = None if groups is None else groups[kept]
        order = None if order is None else order[kept]
        warnings = (*warnings, warning)
    rows = contents.rows
    check_rows(name, rows)
    check_taught(target, fixed)
    labels = target.values.astype(np.int64) if target.task == "classification" else None
    dealing = Dealing(rows, labels, fixed, groups, order)
    counts = () if labels is None else tuple(np.bincount(labels, minlength=len(target.classes)).tolist())
    # A data set that no seed can split is refused here, before anything is trained or written.
    split_rows(dealing, 0)
    return Dataset(
        name=name,
        source=source,
        kind=kind,
        task=target.task,
        task_reason=target.reason,
        classes=target.classes,
        target=target.name,
        inputs=_describe(contents),
        rows=rows,
        notes=notes,
        in_shape=tuple(contents.pixels.shape[1:]) if isinstance(contents, ImageContents) else None,
        fingerprint=_fingerprint(contents, target, dealing),
        warnings=warnings,
        class_counts=counts,
        _contents=contents,
        _target=target,
        _dealing=dealing,
    )


def check_rows(name: str, rows: int) -> None:
    """Refuse data of fewer than 10 rows."""
    if rows < FEWEST_ROWS:
        must = f"{name} must have at least {FEWEST_ROWS} usable rows"
        raise DataError(explain("load", must, count(rows, "row"), "bring more data"))


def _describe(contents: Contents) -> str:
    if isinstance(contents, ImageContents):
        channels, height, width = contents.pixels.shape[1:]
        return image_words(channels, height, width)
    numeric, categorical = contents.numeric.shape[1], len(contents.categorical)
    if not categorical:
        return count(numeric, "numeric column")
    if not numeric:
        return count(categorical, "categorical column")
    return f"{numeric:,} numeric and {count(categorical, 'categorical column')}"


def _fingerprint(contents: Contents, target: Target, dealing: Dealing) -> str:
    digest = hashlib.sha256()
    contents.feed(digest)
    feed_array(digest, target.values)
    digest.update(repr((target.name, target.task, target.classes)).encode())
    for name, array in (("fixed", dealing.fixed), ("groups", dealing.groups), ("order", dealing.order)):
        if array is not None:
            digest.update(name.encode())
            feed_array(digest, array)
    return digest.hexdigest()
