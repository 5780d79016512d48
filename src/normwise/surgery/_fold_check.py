"""Whether two models give the same, measured: in float64, where only mistakes differ, and in the models' own dtype."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from normwise.errors import ArgumentError, explain
from normwise.graph.trace import _tensors_in, arguments_of

Change = Callable[[nn.Module], nn.Module]
LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Largest |Δ| over the largest |y|; for narrower dtypes see `Check`."""


class DisagreementError(Exception):
    """The models differ; the text says by how much, or what was raised."""


class RoundingError(Exception):
    """The models agree in float64, and differ in their own dtype by more than the limit."""


class Check:
    """Runs a model and changed copies of it, in evaluation, on an example and on random inputs like it.

    In float64 `LIMITS` holds, and in float32, unless a tolerance is given. A model with parameters of 16 bits must come
    as near to float64 as twice the given model's distance from it, or 8 of its ulps.

    Args:
        who: the operation that asks.
        model: as it is given; it is not touched.
        example: its input, as `normwise.graph.trace` takes it.
        tolerance: the limit in the model's own dtype; None as above.

    Raises:
        ArgumentError: (a ValueError) the model has no values, does not run in float64, or gives nothing finite to be
            compared.
    """

    def __init__(self, who: str, model: nn.Module, example: Any, tolerance: float | None = None) -> None:
        if any(each.is_meta for each in (*model.parameters(), *model.buffers())):
            must = "a model must have values, which decide what can be changed"
            raise ArgumentError(explain(who, must, "one on the meta device", "load its state first"))
        self._who = who
        self._model = model
        self._tolerance = tolerance
        self._inputs = [example, *_others(example)]
        floating = {
            each.dtype for each in (*model.parameters(), *model.buffers()) if each.is_floating_point()
        }
        narrow = sorted(floating, key=lambda dtype: torch.finfo(dtype).bits)
        self.dtype = narrow[0] if narrow else torch.float32
        self._exact: list[list[Tensor]] = []
        self._own: list[list[Tensor]] = []
        self._refer()

    def __call__(self, change: Change) -> dict[str, float]:
        """The largest relative difference that a change to the model makes, by dtype.

        Raises:
            DisagreementError: it is above the limit in float64, or the changed model raises.
            RoundingError: it is above the limit in the model's own dtype alone.
        """
        errors: dict[str, float] = {}
        changed = change(_in_double(self._model))
        exact = [self._run(changed, inputs, double=True) for inputs in self._inputs]
        errors["float64"] = max(
            _difference(*pair, exact=True) for pair in zip(exact, self._exact, strict=True)
        )
        _limit(errors["float64"], LIMITS[torch.float64], "float64")
        if self.dtype is torch.float64:
            return errors
        changed = change(copy.deepcopy(self._model))
        own = [self._run(changed, inputs) for inputs in self._inputs]
        if [each.dtype for each in own[0]] != [each.dtype for each in self._own[0]]:
            raise DisagreementError("the model then gives tensors of another dtype")
        name = str(self.dtype).removeprefix("torch.")
        narrow = torch.finfo(self.dtype).bits < 32
        references = self._exact if narrow else self._own
        errors[name] = max(map(_difference, own, references))
        limit = self._tolerance
        if limit is None and narrow:
            own_error = max(map(_difference, self._own, self._exact))
            limit = max(2.0 * own_error, 8.0 * torch.finfo(self.dtype).eps)
        elif limit is None:
            limit = LIMITS[torch.float32]
        try:
            _limit(errors[name], limit, name)
        except DisagreementError as error:
            own_error = max(map(_difference, self._own, self._exact))
            words = f"the given model is itself {own_error:.1e} from float64: see `tolerance`"
            raise RoundingError(f"{error}; {words}") from None
        return errors

    def _run(self, model: nn.Module, inputs: Any, *, double: bool = False) -> list[Tensor]:
        try:
            return _run(model, inputs, double=double)
        except Exception as error:
            raise DisagreementError(f"the model then raises {_words(error)}") from error

    def _refer(self) -> None:
        """Run the given model; random inputs that it refuses, or gives nothing finite for, are left out."""
        model = _in_double(self._model)
        kept: list[Any] = []
        for index, inputs in enumerate(self._inputs):
            try:
                own = _run(self._model, inputs)
                outputs = _run(model, inputs, double=True)
            except Exception as error:
                if index:
                    continue
                raise ArgumentError(
                    explain(
                        self._who,
                        "the model must run in float64, where the result is compared with it",
                        _words(error),
                        "let it take the dtype of its input, or of its parameters",
                    )
                ) from error
            if not any(bool(torch.isfinite(each).any()) for each in outputs) or not _alike(own, outputs):
                if index:
                    continue
                raise ArgumentError(
                    explain(
                        self._who,
                        "the model must give finite values on the example, to be compared",
                        f"{len(outputs)} tensors without any, or fewer in its own dtype than in float64",
                        "fill its statistics, and give an example that is not empty",
                    )
                )
            self._exact.append(outputs)
            self._own.append(own)
            kept.append(inputs)
        self._inputs = kept


class _Double(TorchFunctionMode):
    """Whatever would make a tensor of a narrower floating dtype makes one of float64."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in ("float", "half", "bfloat16") and len(args) == 1:
            func = Tensor.double
        args, kwargs = tree_map(
            _widened, (args, kwargs or {}), is_leaf=lambda each: isinstance(each, torch.dtype)
        )
        return func(*args, **kwargs)


def _widened(value: Any) -> Any:
    narrow = isinstance(value, torch.dtype) and value in (torch.float32, torch.float16, torch.bfloat16)
    return torch.float64 if narrow else value


def _in_double(model: nn.Module) -> nn.Module:
    """A copy whose floating tensors are float64, those that are plain attributes among them."""
    twin = copy.deepcopy(model).double()
    for module in twin.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and value.is_floating_point():
                vars(module)[name] = value.double()
    return twin


def _run(model: nn.Module, example: Any, *, double: bool = False) -> list[Tensor]:
    """The outputs of a copy in evaluation, which may write into buffers of its own."""
    memo: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    model = copy.deepcopy(model, memo).eval()
    if double:
        example = tree_map(
            lambda each: each.double() if isinstance(each, Tensor) and each.is_floating_point() else each,
            example,
        )
    arguments, named = copy.deepcopy(arguments_of(_detached(example)))
    with _same_draws(double), torch.no_grad():
        outputs = model(*arguments, **named)
    return [tensor.detach() for tensor in _tensors_in(outputs)]


def _detached(example: Any) -> Any:
    return tree_map(lambda each: each.detach() if isinstance(each, Tensor) else each, example)


@contextmanager
def _same_draws(double: bool) -> Iterator[None]:
    """Random numbers from the same seed, given back afterwards; `double`: in float64 throughout."""
    state, default = random.getstate(), torch.get_default_dtype()
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            random.seed(0)
            if double:
                torch.set_default_dtype(torch.float64)
                with _Double():
                    yield
            else:
                yield
    finally:
        torch.set_default_dtype(default)
        random.setstate(state)


def _others(example: Any) -> list[Any]:
    """Inputs like an example: as large, and in batches of another size, each with new values."""
    leaves, tree = tree_flatten(example)
    generator = torch.Generator().manual_seed(0)
    sizes = {each.shape[0] for each in leaves if isinstance(each, Tensor) and each.dim()}
    first = next((each.shape[0] for each in leaves if isinstance(each, Tensor) and each.dim()), 0)
    found: list[Any] = []
    for size in (first, 1, first + 1):
        if size < 1 or not sizes or (size == 1 and first == 1 and found):
            continue
        values = [
            _like(each, first, size, generator) if isinstance(each, Tensor) else each for each in leaves
        ]
        found.append(tree_unflatten(values, tree))
    return found


def _like(tensor: Tensor, first: int, size: int, generator: torch.Generator) -> Tensor:
    """A random tensor like this one; along the batch axis, which has the length `first`, `size` long."""
    shape = list(tensor.shape)
    if shape and shape[0] == first:
        shape[0] = size
    if not tensor.numel():
        return tensor
    chosen = torch.randint(tensor.numel(), shape, generator=generator).to(tensor.device)
    # Integers and booleans are drawn from the example's own, so that they mean something to the model.
    drawn = tensor.detach().reshape(-1)[chosen]
    if not tensor.is_floating_point():
        return drawn
    wide = tensor.detach().double()
    finite = wide[torch.isfinite(wide)]
    spread = finite.std(correction=0).item() if len(finite) else 1.0
    noise = torch.randn(shape, dtype=torch.float64, generator=generator).to(tensor.device)
    values = (finite.mean().item() if len(finite) else 0.0) + (spread or 1.0) * noise
    result = values.to(tensor.dtype)
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        result = result.contiguous(memory_format=torch.channels_last)
    return result


def _difference(outputs: list[Tensor], references: list[Tensor], *, exact: bool = False) -> float:
    """max|Δ| / max|y| over the tensors; what is not finite must be at the same places.

    Integers are choices, an argmax say, which rounding may turn; `exact`: they must not.
    """
    if [each.shape for each in outputs] != [each.shape for each in references]:
        raise DisagreementError("the model then gives tensors of other shapes")
    worst = 0.0
    for mine, theirs in zip(outputs, references, strict=True):
        if not (theirs.is_floating_point() or theirs.is_complex()):
            if exact and not torch.equal(mine, theirs):
                raise DisagreementError("the model then gives other integers")
            continue
        kind = torch.complex128 if theirs.is_complex() else torch.float64
        wide, expected = mine.to(kind), theirs.to(kind)
        finite = torch.isfinite(expected)
        if not torch.equal(torch.isfinite(wide), finite):
            raise DisagreementError("the model then gives values that are not finite")
        if not bool(finite.any()):
            continue
        delta = (wide - expected)[finite].abs().max().item()
        worst = max(worst, delta / (expected[finite].abs().max().item() or 1.0))
    return worst


def _alike(outputs: list[Tensor], references: list[Tensor]) -> bool:
    """Whether tensors are finite at the same places."""
    try:
        for pair in zip(outputs, references, strict=True):
            _difference([pair[0]], [pair[1]])
    except DisagreementError:
        return False
    return True


def _limit(error: float, limit: float, dtype: str) -> None:
    if not error <= limit:
        raise DisagreementError(
            f"the outputs then differ by {error:.1e} of the largest in {dtype} (limit {limit:.0e})"
        )


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
