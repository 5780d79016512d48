"""Numbers of a device come to the host in one transfer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

KeyT = TypeVar("KeyT")


def to_host(values: Mapping[KeyT, Tensor]) -> dict[KeyT, float]:
    """Read scalars with one synchronisation, however many there are.

    >>> to_host({"a": torch.tensor(1.0), "b": torch.tensor(2, dtype=torch.int64)})
    {'a': 1.0, 'b': 2.0}
    """
    if not values:
        return {}
    device = next(iter(values.values())).device
    together = torch.stack(
        [value.detach().to(device, torch.float32).reshape(()) for value in values.values()]
    )
    return dict(zip(values, together.tolist(), strict=True))


def finite(value: float | None) -> float | None:
    """The number, or None where it is not finite.

    >>> finite(1.5), finite(math.inf), finite(None)
    (1.5, None, None)
    """
    return value if value is not None and math.isfinite(value) else None
