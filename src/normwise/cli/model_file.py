"""A model out of a file, weights out of another, an example; and the way back to files."""

from __future__ import annotations

import pickle
import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from normwise.cli.output_files import first_line
from normwise.errors import ArgumentError, explain
from normwise.models.user import UserModel, load_user_model
from normwise.models.user_guard import stdout_to_stderr

_BATCH = 16
_BURSTS = 7
_BURST_SECONDS = 0.05


@dataclass(frozen=True)
class Subject:
    """What an operation works on.

    Attributes:
        title: of the model, "net.py:Net".
        model: with its weights.
        example: a batch.
        where: the model as it was named, "models/net.py:Net".
        arguments: of its builder, by name.
        outputs: how many its builder was asked for.
        lazy: its layers got their shapes from the example.
        notes: what was done to the weights.
    """

    title: str
    model: nn.Module
    example: Tensor
    where: str
    arguments: Mapping[str, str]
    outputs: int
    lazy: bool
    notes: tuple[str, ...]
    _user: UserModel

    @property
    def size(self) -> tuple[int, ...]:
        """Of the example."""
        return tuple(self.example.shape)

    def again(self) -> nn.Module:
        """The model as its builder makes it, with fresh weights."""
        model = self._user.plain(self.size[1:], self.outputs)
        if self.lazy:
            model.eval()(self.example)
        return model


def load(
    who: str,
    where: str,
    *,
    model_args: tuple[str, ...] = (),
    shape: str | None = None,
    example: str | None = None,
    outputs: int = 10,
    weights: Path | None = None,
) -> Subject:
    """Build the model of `where`, load its weights, and make a batch of normal random numbers.

    Raises:
        ArgumentError: neither or both of shape and example, the model cannot be built, or the weights do not fit.
    """
    size = _size(who, shape, example)
    pairs = dict(_pair(who, text) for text in model_args)
    with stdout_to_stderr():
        user = load_user_model(where, pairs)
        model = user.plain(size[1:], outputs)
        batch = torch.randn(size, generator=torch.Generator().manual_seed(0))
        lazy = any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters())
        if lazy:
            model.eval()(batch)
    notes = () if weights is None else load_weights(who, user.title, model, weights)
    return Subject(user.title, model, batch, where, pairs, outputs, lazy, notes, user)


@dataclass(frozen=True)
class Batches:
    """Inputs out of a data set.

    Attributes:
        name: of the data.
        inputs: the training rows in batches.
        out_features: number of classes, or 1.
    """

    name: str
    inputs: list[Tensor]
    out_features: int


def batches_of(who: str, data: str, target: str | None, batch_size: int) -> Batches:
    """The training rows of a data set, prepared as `compare` does."""
    from normwise.data import load as load_data

    if batch_size < 2:
        raise ArgumentError(explain(who, "--batch-size must be at least 2", f"{batch_size}"))
    found = load_data(data, target=target)
    split = found.split(0)
    inputs = list(torch.split(split.train.inputs, batch_size))
    if len(inputs) > 1 and len(inputs[-1]) == 1:  # no batch of its own
        inputs[-2:] = [torch.cat(inputs[-2:])]
    return Batches(data, inputs, split.out_features)


def write_weights(model: nn.Module, file: Path) -> None:
    """Write the state_dict as the file's ending tells."""
    if file.suffix == ".safetensors":
        from safetensors.torch import save_model

        save_model(model, str(file))
    else:
        torch.save(model.state_dict(), file)


def speedup(before: nn.Module, after: nn.Module, example: Tensor) -> float:
    """How many times as fast a pass in evaluation is afterwards: medians of bursts in turn, on this machine."""
    sides = [model.eval() for model in (before, after)]
    times: list[list[float]] = [[], []]
    with torch.no_grad():
        for model in sides:
            model(example)
        for _ in range(_BURSTS):
            for model, found in zip(sides, times, strict=True):
                found.append(_burst(model, example))
    return statistics.median(times[0]) / statistics.median(times[1])


def _burst(model: nn.Module, example: Tensor) -> float:
    """Seconds a pass."""
    start, count = time.perf_counter(), 0
    while True:
        model(example)
        count += 1
        spent = time.perf_counter() - start
        if spent > _BURST_SECONDS:
            return spent / count


def _size(who: str, shape: str | None, example: str | None) -> tuple[int, ...]:
    if (shape is None) == (example is None):
        raise ArgumentError(
            explain(
                who,
                "an input's size must be given once",
                "none" if shape is None else "both --shape and --example",
                "write --shape 3,224,224 for one sample, or --example 1,3,224,224 for a batch",
            )
        )
    text = example if shape is None else shape
    assert text is not None
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ArgumentError(
            explain(who, "a size must be whole numbers above 0", repr(text), "write 3,224,224")
        )
    size = tuple(int(part) for part in parts)
    return size if shape is None else (_BATCH, *size)


def _pair(who: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ArgumentError(explain(who, "--model-args takes name=value", repr(text)))
    return name.strip(), value.strip()


def load_weights(who: str, title: str, model: nn.Module, file: Path) -> tuple[str, ...]:
    """Load a state_dict out of a file.

    Returns:
        What is to be said about it: of which dtype it was, where the model has another.

    Raises:
        ArgumentError: no file, no state_dict, or one that does not fit.
    """
    if not file.is_file():
        raise ArgumentError(explain(who, "the file of weights must exist", str(file)))
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # Whatever a broken file makes its reader raise.
        raise ArgumentError(
            explain(
                who,
                "the weights must be a state_dict",
                f"{file.name}: {_broken(file, error)}",
                "save model.state_dict() alone",
            )
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        inner = [key for key in state if isinstance(state[key], dict)] if isinstance(state, dict) else []
        raise ArgumentError(
            explain(
                who,
                "the weights must be a state_dict, tensors by name",
                f"{file.name} with {', '.join(map(repr, inner)) or type(state).__name__}",
                "save model.state_dict() alone",
            )
        )
    try:
        # Shared tensors are written once: what is missing may be there under another name.
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        raise ArgumentError(explain(who, f"{file.name} must fit {title}", "; ".join(lines[:3]))) from error
    held = {name: tensor.data_ptr() for name, tensor in model.state_dict(keep_vars=True).items()}
    there = {held[name] for name in held.keys() - set(missing)}
    missing = [name for name in missing if held[name] not in there]
    if missing or unexpected:
        listed = [f"no {name!r}" for name in missing[:3]] + [f"{name!r} too many" for name in unexpected[:3]]
        raise ArgumentError(
            explain(
                who,
                f"{file.name} must fit {title}",
                ", ".join(listed),
                "is the model built with other arguments? see --model-args and --outputs",
            )
        )
    return _other_dtypes(model, state, file)


def _broken(file: Path, error: Exception) -> str:
    """Why a file of weights is none, without the advice to trust it."""
    held = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if held is not None:
        return f"it holds a {held[1]}, and not tensors alone"
    if file.suffix == ".safetensors" or isinstance(error, OSError | RuntimeError):
        return first_line(error)
    return "torch.save has not written it, or not all of it"


def _other_dtypes(model: nn.Module, state: Mapping[str, Tensor], file: Path) -> tuple[str, ...]:
    mine = {name: tensor.dtype for name, tensor in model.state_dict().items() if name in state}
    changed = {(state[name].dtype, dtype) for name, dtype in mine.items() if state[name].dtype != dtype}
    floats = sorted(
        (_short(there), _short(here))
        for there, here in changed
        if there.is_floating_point and here.is_floating_point
    )
    return tuple(
        f"{file.name} has {there} where the model has {here}: computed, and written, in {here}"
        for there, here in floats
    )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
