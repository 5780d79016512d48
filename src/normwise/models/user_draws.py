"""Random draws that depend on a seed, on their shape and on nothing else."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.overrides import TorchFunctionMode


class _Paired(TorchFunctionMode):
    """Seeds the default generator anew before each of torch's functions.

    A mode for functions, because one for operators imports the compiler: a second in each worker process.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._drawn: Counter[str] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name != "__get__":  # an attribute such as `shape`, of which there are many
            key = f"{name} {_shape(args)}"
            mixed = np.random.SeedSequence([self._seed, zlib.crc32(key.encode()), self._drawn[key]])
            torch.default_generator.manual_seed(int(mixed.generate_state(1, np.uint32)[0]))
            self._drawn[key] += 1
        return func(*args, **(kwargs or {}))


def _shape(args: Sequence[Any]) -> object:
    """The shape of the first tensor, or the sizes of the tensor to be made."""
    first = next((arg for arg in args if isinstance(arg, Tensor)), None)
    if first is None:
        return tuple(arg for arg in args if isinstance(arg, int | tuple | list))
    lazy = isinstance(first, UninitializedParameter | UninitializedBuffer)  # it has no shape yet
    return None if lazy else tuple(first.shape)


@contextmanager
def paired_draws(seed: int) -> Iterator[None]:
    """Run the block so that its random numbers depend on `seed` alone; give back all random states after it.

    The k-th draw of a shape is the same in every block of one seed, whatever is drawn between: two networks
    that differ in their normalization, and therefore in the biases before it, start from equal weights where
    the shapes agree. Seeds that the block sets itself (``torch.manual_seed(0)`` at the head of a file) have
    no effect on torch's CPU draws, so that each seed gives other weights. Draws from a generator of the
    block's own stay as they are.

    Args:
        seed: at least 0.

    >>> from torch import nn
    >>> with paired_draws(1):
    ...     plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    >>> with paired_draws(1):
    ...     other = nn.Sequential(nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 4))
    >>> torch.equal(plain[1].weight, other[2].weight)
    True
    """
    with kept_random_states():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        with _Paired(seed):
            yield


@contextmanager
def kept_random_states() -> Iterator[None]:
    """Give back the random states of Python, NumPy and torch after the block."""
    state: Any = random.getstate()
    numpy_state: Any = np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)
