"""Rows with equal inputs: found, kept together, and said of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data.contents import TableContents
from normwise.data.task import Target
from normwise.data.wording import count

LARGEST_SHARE = 0.05
"""Where more rows than this share are equal, or fewer than 50 inputs are different, columns are coarse."""

FEWEST_INPUTS = 50

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Twins:
    """Rows by their inputs.

    Attributes:
        inputs: (N,) index of the row's inputs among the different ones.
        sizes: how many rows have them.
        first: the first row that has them.
    """

    inputs: _Ints
    sizes: _Ints
    first: _Ints

    @property
    def repeated(self) -> int:
        """Rows that are not the first with their inputs."""
        return len(self.inputs) - len(self.sizes)

    @property
    def coarse(self) -> bool:
        """Whether rows are equal because the columns take few values, not because somebody copied them."""
        few = len(self.sizes) < FEWEST_INPUTS and self.repeated >= len(self.sizes)
        return few or int(self.sizes.max()) > max(2, LARGEST_SHARE * len(self.inputs))


def find_twins(table: TableContents) -> Twins:
    """Find rows with equal inputs, missing values equal to each other.

    Rows are told apart by 64 mixed bits: among a million rows, a mistake has a chance of 3 in 100 million.
    """
    keys = np.zeros(table.rows, dtype=np.uint64)
    for index in range(table.numeric.shape[1]):
        # Adding zero makes −0 of one kind with 0.
        values = table.numeric[:, index] + 0.0
        values[np.isnan(values)] = np.nan
        _mix(keys, values.view(np.uint64))
    for column in table.categorical:
        _mix(keys, column.codes.astype(np.uint64))
    _, first, inputs, sizes = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    return Twins(inputs.astype(np.int64), sizes.astype(np.int64), first.astype(np.int64))


def _mix(keys: npt.NDArray[np.uint64], values: npt.NDArray[np.uint64]) -> None:
    """One round of splitmix64, in place."""
    keys += np.uint64(0x9E3779B97F4A7C15)
    keys ^= values
    keys ^= keys >> np.uint64(30)
    keys *= np.uint64(0xBF58476D1CE4E5B9)
    keys ^= keys >> np.uint64(27)
    keys *= np.uint64(0x94D049BB133111EB)
    keys ^= keys >> np.uint64(31)


def contradictions(twins: Twins, target: Target) -> tuple[int, str]:
    """How many rows have equal inputs and different targets, and a sentence on them (empty without any)."""
    several = np.flatnonzero(twins.sizes[twins.inputs] > 1)
    if not len(several):
        return 0, ""
    inputs, values = twins.inputs[several], target.values[several]
    order = np.lexsort((values, inputs))
    inputs, values = inputs[order], values[order]
    starts = np.flatnonzero(np.diff(inputs, prepend=-1))
    sizes = np.diff(starts, append=len(inputs))
    apart = values[starts] != values[starts + sizes - 1]
    rows = int(sizes[apart].sum())
    if not rows:
        return 0, ""
    said = f"{count(rows, 'row')} have the inputs of another row and a different target"
    return rows, f"{said}: no model can get all of them right"


def joined(first: _Ints, second: _Ints) -> _Ints:
    """Groups of rows that share a group in either of two groupings (N,), directly or over others."""
    graph = require("scipy.sparse.csgraph", extra="compare", who="groups of rows")
    sparse = require("scipy.sparse", extra="compare", who="groups of rows")
    left = int(first.max()) + 1
    size = left + int(second.max()) + 1
    edges = sparse.coo_array((np.ones(len(first), dtype=bool), (first, left + second)), shape=(size, size))
    _, component = graph.connected_components(edges, directed=False)
    groups: _Ints = np.unique(component[first], return_inverse=True)[1].astype(np.int64)
    return groups
