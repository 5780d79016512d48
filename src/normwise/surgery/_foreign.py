"""A layer of another framework as numbers and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ForeignLayer:
    """A layer of Keras or Flax: its class, its arguments, its arrays.

    Attributes:
        kind: the name of the class.
        config: arguments of the class by name.
        weights: arrays by the framework's names and in its order.
        channels: how many there are, which a normalization without arrays does not tell; None where it is not known.
    """

    kind: str
    config: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]
    channels: int | None = None

    @property
    def variables(self) -> dict[str, dict[str, NDArray[Any]]]:
        """The arrays in Flax's collections, ``params`` and ``batch_stats``.

        >>> import numpy as np
        >>> ForeignLayer("BatchNorm", {}, {"scale": np.ones(1), "mean": np.zeros(1)}).variables
        {'params': {'scale': array([1.])}, 'batch_stats': {'mean': array([0.])}}
        """
        tracked = {"mean", "var"}
        params = {name: value for name, value in self.weights.items() if name not in tracked}
        stats = {name: value for name, value in self.weights.items() if name in tracked}
        return ({"params": params} if params else {}) | ({"batch_stats": stats} if stats else {})
