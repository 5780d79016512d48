"""Power iteration with vectors that stay from call to call.

Weights change little between two steps of training, so that one multiplication a step keeps up with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from normwise.regularizers._selection import Pick

WARMUP = 15
"""Multiplications at a weight's first call, as torch's spectral normalization does."""


class Vectors:
    """One unit vector for every matrix of a weight, moved towards where the matrix stretches most.

    They are kept by module, not with it: a copy or a pickle of the penalty starts anew, from the same vectors.
    """

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[nn.Module, dict[str, Tensor]] = WeakKeyDictionary()

    @torch.no_grad()
    def iterate(self, pick: Pick, like: Tensor, apply: Callable[[Tensor], Tensor], iterations: int) -> Tensor:
        """Return unit vectors (G, F, 1) after some multiplications by `apply`.

        Args:
            pick: the weight.
            like: its matrices (G, O, F).
            apply: the symmetric operator to multiply with.
            iterations: multiplications, where there were some before.
        """
        name = pick.name.rpartition(".")[2]
        shape = (like.shape[0], like.shape[2], 1)
        vectors = self._of.get(pick.owner, {}).get(name)
        if vectors is None or vectors.shape != shape or vectors.dtype != like.dtype:
            vectors, iterations = _start(like), max(iterations, WARMUP)
        vectors = vectors.to(like.device)
        for _ in range(iterations):
            moved = apply(vectors)
            length = torch.linalg.vector_norm(moved, dim=1, keepdim=True)
            # A matrix of zeros moves everything to zero, from where no vector would come back.
            vectors = torch.where(length > 0, moved / torch.where(length > 0, length, 1.0), vectors)
        if _outlives(vectors):
            self._of.setdefault(pick.owner, {})[name] = vectors
        return vectors

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]


def _start(like: Tensor) -> Tensor:
    # Scattered numbers that are no random draw: adding a penalty changes no other draw, and vmap allows it.
    places = torch.arange(1, like.shape[2] + 1, dtype=torch.float64, device=like.device)
    vector = places.square().sin()
    unit: Tensor = vector / torch.linalg.vector_norm(vector)
    return unit.to(like.dtype)[:, None].expand(like.shape[0], -1, 1)


def _outlives(vectors: Tensor) -> bool:
    """Whether vectors are of use at the next call: not those of a transform, a fake mode or inference mode."""
    is_transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return type(vectors) is Tensor and not is_transformed and not vectors.is_inference()
