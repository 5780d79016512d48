"""From contents and rows to tensors: every statistic comes from the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from normwise.data.contents import Categorical, Contents, ImageContents, Rows, TableContents
from normwise.data.split import SplitRows
from normwise.data.wording import count, listing
from normwise.errors import DataError, explain

MOST_CATEGORIES = 64
"""A categorical column becomes at most this many columns, and one more for all rarer categories."""

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prepared:
    """float32 inputs of the three parts, and what was done to them."""

    train: torch.Tensor
    validation: torch.Tensor
    test: torch.Tensor
    notes: tuple[str, ...]


def prepare(contents: Contents, rows: SplitRows, *, standardise: bool = True) -> Prepared:
    """Standardise, impute and encode with statistics of the training rows.

    Without standardising numbers and pixels keep the units of the file, and columns of numbers stay though they are
    constant.

    Tables: x → (x − mean) / std per column, with the population standard deviation; a missing number becomes
        the training median, and a column with missing numbers in training gets an indicator (1 where missing)
        beside it; categories become columns of 0 and 1, the 64 most frequent ones each its own and the rest
        together; one that training does not have counts as rare, or is zeros where none is rare; columns that
        are constant in training are dropped. Images: the same with one mean and one std per
        channel.

    Raises:
        DataError: nothing varies in the training rows.
    """
    if isinstance(contents, ImageContents):
        return _prepare_images(contents.pixels, rows, standardise)
    return _prepare_table(contents, rows, standardise)


def _prepare_images(
    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.float32], rows: SplitRows, standardise: bool
) -> Prepared:
    scale = 255.0 if pixels.dtype == np.uint8 else 1.0
    train = pixels[rows.train]
    moments = [_channel_moments(train[:, channel]) for channel in range(pixels.shape[1])]
    mean, std = (np.array(part) / scale for part in zip(*moments, strict=True))
    flat = std <= 1e-12 * np.maximum(np.abs(mean), 1)
    if flat.all():
        raise DataError(
            explain(
                "split", "the images must differ from each other", "the same value in every training pixel"
            )
        )
    std = np.where(flat, 1.0, std)
    note = "pixels standardised by the training mean and standard deviation of each channel"
    if not standardise:
        scale, mean, std, note = 1.0, np.zeros_like(mean), np.ones_like(std), "pixels as in the file"
    shift = torch.from_numpy(mean).to(torch.float32).view(1, -1, 1, 1)
    divisor = torch.from_numpy(std).to(torch.float32).view(1, -1, 1, 1)

    def finish(part: npt.NDArray[np.generic]) -> torch.Tensor:
        # Indexing keeps the order of axes in memory, which for arrays in Fortran order is not torch's.
        part = np.ascontiguousarray(part)
        return torch.from_numpy(part).to(torch.float32).div_(scale).sub_(shift).div_(divisor)

    return Prepared(finish(train), finish(pixels[rows.validation]), finish(pixels[rows.test]), (note,))


def _channel_moments(values: npt.NDArray[np.generic]) -> tuple[float, float]:
    if values.dtype == np.uint8:
        # Counting is exact and needs no float64 copy of the images, which would be eight times their size.
        counts = np.bincount(values.ravel(), minlength=256)
        levels = np.arange(256, dtype=np.float64)
        mean = float(counts @ levels / counts.sum())
        return mean, float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


def _prepare_table(table: TableContents, rows: SplitRows, standardise: bool) -> Prepared:
    blocks: list[list[_Floats]] = [[], [], []]
    parts: tuple[Rows, Rows, Rows] = (rows.train, rows.validation, rows.test)
    constant: list[str] = []
    notes: list[str] = []
    if table.numeric.shape[1]:
        _add_numeric(table, parts, blocks, constant, notes, standardise)
    encoded = [_encode(column, parts) for column in table.categorical]
    for column, one_hot in zip(table.categorical, encoded, strict=True):
        if one_hot is None:
            constant.append(column.name)
            continue
        for block, part in zip(blocks, one_hot.parts, strict=True):
            block.append(part)
    if not any(block.shape[1] for block in blocks[0]):
        raise DataError(
            explain(
                "split",
                "at least one input column must vary in the training part",
                f"{count(table.numeric.shape[1] + len(table.categorical), 'column')}, each constant there",
                "bring more rows or other columns",
            )
        )
    if constant:
        notes.insert(
            0, f"{count(len(constant), 'column')} constant in the training part dropped: {listing(constant)}"
        )
    notes += _said_of_words([one_hot for one_hot in encoded if one_hot is not None])
    train, validation, test = (
        torch.from_numpy(np.concatenate(block, axis=1).astype(np.float32, order="C")) for block in blocks
    )
    return Prepared(train, validation, test, tuple(notes))


def _add_numeric(
    table: TableContents,
    parts: tuple[Rows, Rows, Rows],
    blocks: list[list[_Floats]],
    dropped: list[str],
    notes: list[str],
    standardise: bool,
) -> None:
    # One fancy index, reused: for a table of thousands of columns the copies are the cost.
    values = [table.numeric[part] for part in parts]
    missing = [np.isnan(part) for part in values]
    train_missing = missing[0].any(axis=0)
    absent = missing[0].all(axis=0)
    any_missing: npt.NDArray[np.bool_] = np.logical_or.reduce([gap.any(axis=0) for gap in missing])
    if any_missing.any():
        medians = np.zeros(len(any_missing))
        known = any_missing & ~absent
        medians[known] = np.nanmedian(values[0][:, known], axis=0)
        values = [np.where(gap, medians, part) for gap, part in zip(missing, values, strict=True)]
    mean, std = values[0].mean(axis=0), values[0].std(axis=0)
    largest = np.abs(values[0]).max(axis=0)
    # Rounding of the mean leaves a constant column a spread of about 1e-16 of its size; it carries nothing.
    constant = (std <= 1e-12 * largest) | absent
    if not standardise:
        mean, std, constant = np.zeros_like(mean), np.ones_like(std), absent
    indicator = train_missing & ~absent
    for block, part, gap in zip(blocks, values, missing, strict=True):
        block.append((part[:, ~constant] - mean[~constant]) / std[~constant])
        block.append(gap[:, indicator].astype(np.float64))
    # What is constant where it is known may still tell by its gaps.
    dropped += [table.names[i] for i in np.flatnonzero(constant & ~indicator)]
    gaps_alone = [table.names[i] for i in np.flatnonzero(constant & indicator)]
    if gaps_alone:
        which = count(len(gaps_alone), "column")
        notes.append(
            f"only whether a value is missing kept of {which}, otherwise constant in the training part: "
            f"{listing(gaps_alone)}"
        )
    imputed = any_missing & ~absent & ~constant
    if imputed.any():
        numbers = sum(gap.sum(axis=0) for gap in missing)
        names = [f"{table.names[i]} ({numbers[i]:,})" for i in np.flatnonzero(imputed)]
        added = int((indicator & ~constant).sum())
        notes.append(
            f"missing numbers replaced by the training median in {count(len(names), 'column')}: {listing(names)}"
            + (f"; {count(added, 'indicator column')} added" if added else "")
        )
    if not constant.all():
        how = "standardised by the training mean and standard deviation of each column"
        notes.append(f"numbers {how if standardise else 'in the units of the file'}")


@dataclass(frozen=True, eq=False)
class _OneHot:
    parts: list[_Floats]
    words: str  # "'k' (2)", "'k' (64 and the rest)"
    unseen: str  # "'k' (1)" where validation or test have values that training does not


def _encode(column: Categorical, parts: tuple[Rows, Rows, Rows]) -> _OneHot | None:
    """Columns of 0 and 1, or None if the column is constant in training."""
    codes = [column.codes[part] for part in parts]
    seen = codes[0][codes[0] >= 0]
    frequency = np.bincount(seen, minlength=len(column.categories))
    kept: Rows = np.flatnonzero(frequency)
    gaps = bool((codes[0] < 0).any())
    if len(kept) < 2 and not (gaps and len(kept)):
        return None
    rare = len(kept) > MOST_CATEGORIES
    if rare:
        # Stable, so that ties fall to the earlier category and the columns do not depend on the sort's moods.
        kept = np.sort(np.argsort(-frequency, kind="stable")[:MOST_CATEGORIES])
    values = np.append(kept, -1) if gaps else kept
    blocks = [(part[:, None] == values[None, :]).astype(np.float64) for part in codes]
    if rare:
        rest = [((part >= 0) & ~np.isin(part, kept)).astype(np.float64) for part in codes]
        blocks = [np.column_stack([block, one]) for block, one in zip(blocks, rest, strict=True)]
    unseen = np.setdiff1d(np.concatenate(codes[1:]), codes[0])
    detail = f"{len(kept)}{' and the rest' if rare else ''}{' and missing' if gaps else ''}"
    return _OneHot(
        blocks,
        f"{column.name} ({detail})",
        f"{column.name} ({count(len(unseen), 'value')})" if len(unseen) else "",
    )


def _said_of_words(encoded: list[_OneHot]) -> list[str]:
    notes = []
    if encoded:
        words = [one_hot.words for one_hot in encoded]
        notes.append(f"{count(len(words), 'column')} of words encoded one-hot: {listing(words)}")
    unseen = [one_hot.unseen for one_hot in encoded if one_hot.unseen]
    if unseen:
        notes.append(f"validation or test have words that training does not: {listing(unseen)}")
    return notes
