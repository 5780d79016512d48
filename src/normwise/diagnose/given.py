"""What people have at hand — arrays, pairs, data sets, loaders — as a batch, or as a training and a validation part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from normwise.diagnose.subject import Data
from normwise.errors import ArgumentError, explain

_WHO = "diagnose"
_MOST = 16_384
"""Samples that are taken from a data set or a loader."""

_FRACTION = 0.2
"""Held out where no validation part is given."""

_FEWEST = 10


def as_model(model: Any) -> nn.Module:
    """The model itself, out of what compiles it or spreads it over devices.

    Raises:
        ArgumentError: it is none, or a scripted one.
    """
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    if isinstance(model, nn.Module):
        scripted = next(
            (name for name, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)), None
        )
        if scripted is not None:
            got = f"`{scripted}` scripted" if scripted else "a scripted module"
            hint = "give the module before torch.jit"
            raise ArgumentError(explain(_WHO, "hooks must see what runs", got, hint))
        return model
    is_class = isinstance(model, type)
    got = f"the class {model.__name__}" if is_class else f"a {type(model).__name__}"
    hint = f"make one: {model.__name__}()" if is_class else "give the network itself"
    raise ArgumentError(explain(_WHO, "`model` must be a torch.nn.Module", got, hint))


def as_batch(batch: Any) -> tuple[Any, Tensor | None]:
    """Inputs and targets, of (inputs, targets) or of inputs alone; arrays become tensors.

    Raises:
        ArgumentError: it is neither.
    """
    if batch is None or isinstance(batch, Tensor | np.ndarray):
        return _tensors(batch), None
    if isinstance(batch, tuple | list) and len(batch) == 2 and isinstance(batch[1], Tensor | np.ndarray):
        return _tensors(batch[0]), _tensor(batch[1])
    got = f"a {type(batch).__name__}"
    if isinstance(batch, tuple | list):
        got += f" of {', '.join(type(each).__name__ for each in batch)}"
    hint = (
        "give a pair: inputs as the model takes them (a tensor, a tuple or a dict), and a tensor of targets"
    )
    if isinstance(batch, DataLoader | Dataset):
        hint = "give it as data=…, and a short training is watched"
    raise ArgumentError(explain(_WHO, "`batch` must be (inputs, targets), or inputs alone", got, hint))


def as_data(given: Any) -> tuple[Data, int | None]:
    """A training and a validation part, and the size of batches where what is given has one.

    Args:
        given: a `Data`; (inputs, targets), of which a fifth is held out; ((inputs, targets), (inputs, targets)) of
            training and validation; a data set or a loader of such pairs, or two of them.

    Raises:
        ArgumentError: it is none of these, or has fewer than 10 samples.

    >>> data, size = as_data((torch.zeros(50, 3), torch.arange(50) % 2))
    >>> len(data.inputs), len(data.validation_inputs), data.task, data.classes, size
    (40, 10, 'classification', 2, None)
    """
    if isinstance(given, Data):
        return given, None
    size = getattr(given, "batch_size", None)
    if isinstance(given, tuple | list) and len(given) == 2 and not isinstance(given[1], Tensor | np.ndarray):
        size = getattr(given[0], "batch_size", None)
        (inputs, targets), (held_inputs, held_targets) = (_pair(part) for part in given)
    else:
        inputs, targets = _pair(given)
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
        count = round(_FRACTION * len(order))
        held, kept = order[:count], order[count:]
        held_inputs, held_targets = inputs[held], targets[held]
        inputs, targets = inputs[kept], targets[kept]
    if len(inputs) < _FEWEST or not len(held_inputs):
        got = f"{len(inputs)} for training and {len(held_inputs)} held out"
        raise ArgumentError(explain(_WHO, f"`data` must have at least {_FEWEST} samples", got))
    both = torch.cat([targets, held_targets])
    if (
        targets.is_floating_point()
        and bool(((both == 0) | (both == 1)).all())
        and bool(both.any())
        and both[0].numel() == 1
    ):
        return Data(inputs, targets, held_inputs, held_targets, "classification", 2), size
    if targets.is_floating_point():
        return Data(inputs, targets, held_inputs, held_targets, "regression"), size
    classes = 1 + int(max(targets.max(), held_targets.max()))
    return Data(inputs, targets, held_inputs, held_targets, "classification", classes), size


def _pair(part: Any) -> tuple[Tensor, Tensor]:
    """Inputs and targets of one part."""
    if isinstance(part, DataLoader):
        with torch.random.fork_rng(devices=[]):  # a loader draws from the common numbers, shuffled or not
            inputs, targets = _gathered(part, together=True)
    elif isinstance(part, Dataset):
        drawn = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        inputs, targets = _gathered((part[int(i)] for i in drawn[:_MOST]), together=False)
    else:
        inputs, found = as_batch(part)
        targets = found
    alike = isinstance(inputs, Tensor) and isinstance(targets, Tensor) and len(inputs) == len(targets)
    if not alike:
        got = "inputs of several tensors" if not isinstance(inputs, Tensor) else "no targets, or not as many"
        must = "`data` must be a tensor of inputs and one of as many targets, or give such pairs"
        raise ArgumentError(explain(_WHO, must, got, "watch a training of other inputs with nw.Monitor"))
    return inputs, targets


def _gathered(pairs: Iterable[Any], *, together: bool) -> tuple[Any, Any]:
    """Samples one by one, or in batches, as two tensors; None in the place of what cannot be put together."""
    inputs: list[Any] = []
    targets: list[Any] = []
    count = 0
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            return None, None
        x, y = _tensors(pair[0]), torch.as_tensor(pair[1])
        if not isinstance(x, Tensor):
            return None, None
        inputs.append(x)
        targets.append(y)
        count += len(x) if together else 1
        if count >= _MOST:
            break
    if not inputs:
        return None, None
    join = torch.cat if together else torch.stack
    return join(inputs), _tensor(join(targets))


def _tensors(inputs: Any) -> Any:
    return _tensor(inputs) if isinstance(inputs, Tensor | np.ndarray) else inputs


def _tensor(array: Any) -> Tensor:
    """Arrays of numbers in torch's default precision, as models have theirs; tensors as they are."""
    if isinstance(array, Tensor):
        return array
    tensor = torch.as_tensor(array)
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor.long()
