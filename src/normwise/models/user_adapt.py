"""Make a user's model fit: rows or images in, scores (N, K) out, each step only where it is needed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.models.left_alone import left_alone
from normwise.models.user_reason import plainly
from normwise.models.user_scores import NoScoresError, last_function, scores_in


class SingleLogit(nn.Module):
    """A network with one output z for two classes, as one with the two logits (0, z).

    The cross-entropy of (0, z) is the binary cross-entropy of z.

    >>> SingleLogit(nn.Identity())(torch.tensor([[2.0], [-1.0]]))
    tensor([[ 0.,  2.],
            [ 0., -1.]])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 2) for what the network makes (N, 1) or (N,) of."""
        z = self.network(x).reshape(len(x), 1)
        return torch.cat([torch.zeros_like(z), z], dim=1)


@dataclass(frozen=True)
class Adaptation:
    """What stands between the data and a model, and between the model and the loss.

    Attributes:
        clone: its forward pass changes its input in place, so it gets a copy.
        flatten: it takes rows, and images are flattened.
        pick: it returns more than a tensor, of which one part is taken.
        reshape: its scores come as (N,), (N, K, 1, 1) or the like.
        cast: they come in another dtype than float32.
        logit: it returns one value for two classes.
        end: the activation that it ends in, in words.
    """

    clone: bool = False
    flatten: bool = False
    pick: bool = False
    reshape: bool = False
    cast: bool = False
    logit: bool = False
    end: str | None = None

    @property
    def changes_nothing(self) -> bool:
        """Whether the model can be used as it is."""
        return replace(self, end=None) == Adaptation()


class Adapted(nn.Module):
    """A user's model behind an `Adaptation`.

    Attributes:
        network: the model.
    """

    def __init__(self, network: nn.Module, adaptation: Adaptation, out_features: int) -> None:
        super().__init__()
        self.network = network
        self._adaptation = adaptation
        self._widths = (1,) if adaptation.logit else (out_features,)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_features)."""
        how = self._adaptation
        if how.clone:
            x = x.clone()
        output = self.network(x.flatten(1) if how.flatten else x)
        if how.pick:
            output = scores_in(output, len(x), self._widths)
        y: Tensor = output
        if how.reshape:
            y = y.reshape(len(x), -1)
        if how.cast:
            y = y.float()
        return torch.cat([torch.zeros_like(y), y], dim=1) if how.logit else y


def check_forward(model: nn.Module, who: str) -> None:
    """Raise unless `forward` can be called with one batch and nothing else."""
    if type(model).forward is nn.Module.forward or not callable(getattr(model, "forward", None)):
        raise ArgumentError(
            explain(who, "the model must have a method forward(x)", f"a {type(model).__name__} without one")
        )
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # compiled: the call itself will tell
        return
    plain = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p.name for p in parameters if p.default is Parameter.empty and p.kind in plain]
    keywords = [
        p.name for p in parameters if p.default is Parameter.empty and p.kind is Parameter.KEYWORD_ONLY
    ]
    positional = any(p.kind in (*plain, Parameter.VAR_POSITIONAL) for p in parameters)
    if len(needed) > 1 or keywords or not positional:
        got = f"forward({', '.join(needed + keywords)})"
        hint = "split one tensor inside forward, or wrap the model in a build() that does"
        raise ArgumentError(explain(who, "forward must take one input, a batch", got, hint))


Call = Callable[[Callable[[], Any], str], Any]
"""Runs a function as the user's code: what it raises is explained; the second argument says what was done."""


def find_adaptation(model: nn.Module, batch: Tensor, out_features: int, who: str, call: Call) -> Adaptation:
    """Run a batch through the model, in evaluation and in training mode, and see what it needs.

    Lazy layers get their shapes on the way; buffers that had one are left as they are.

    Args:
        model: as the user's code made it.
        batch: (N, F) or (N, C, H, W), float32.
        out_features: classes, or 1 for regression.
        who: for messages.
        call: runs the model.

    Raises:
        ArgumentError: the output cannot be used; whatever `call` raises.
    """
    check_forward(model, who)
    widths = (1, 2) if out_features == 2 else (out_features,)
    flatten, output = _first_output(model, batch, widths, who, call)
    how = Adaptation(flatten=flatten)
    for training in (False, True):
        x = (batch.flatten(1) if flatten else batch).clone()
        version = x._version
        with left_alone(model, training=training), torch.enable_grad():
            output = call(functools.partial(model, x), f"a forward pass in {_mode(training)} mode")
        how = replace(how, clone=how.clone or x._version != version)
        scores = _checked(output, len(batch), out_features, widths, who)
        width = scores.numel() // len(batch)
        if training and how.logit != (width == 1 and out_features == 2):
            raise ArgumentError(
                explain(
                    who,
                    "the model must return the same values in training and evaluation mode",
                    f"{tuple(scores.shape)} in training mode only",
                )
            )
        how = replace(
            how,
            pick=how.pick or scores is not output,
            reshape=how.reshape or tuple(scores.shape) != (len(batch), width),
            cast=how.cast or scores.dtype != torch.float32,
            logit=width == 1 and out_features == 2,
            end=last_function(scores),
        )
    return how


def _first_output(
    model: nn.Module, batch: Tensor, widths: tuple[int, ...], who: str, call: Call
) -> tuple[bool, Any]:
    """Whether images must be flattened, and what the model makes of the batch."""
    mode = f"a forward pass of {_batch_words(batch)}"

    def run(x: Tensor) -> Any:
        with left_alone(model, training=False), torch.no_grad():
            return call(lambda: model(x.clone()), mode)

    try:
        output = run(batch)
    except ArgumentError as error:
        flat = None if batch.dim() == 2 else _flat_output(run, batch)
        if flat is None:
            raise plainly(error, model, batch, who) from None
        return True, flat
    if batch.dim() == 4 and not _fits(output, len(batch), widths):
        # A linear layer acts on the last axis of an image just as well; what comes out is no score then.
        flat = _flat_output(run, batch)
        if flat is not None and _fits(flat, len(batch), widths):
            return True, flat
    return False, output


def _flat_output(run: Callable[[Tensor], Any], batch: Tensor) -> Any:
    try:
        return run(batch.flatten(1))
    except ArgumentError:
        return None


def _fits(output: Any, rows: int, widths: tuple[int, ...]) -> bool:
    try:
        scores = scores_in(output, rows, widths)
    except NoScoresError:
        return False
    return scores.dim() > 0 and len(scores) == rows and scores.numel() in [rows * width for width in widths]


def _checked(output: Any, rows: int, out_features: int, widths: tuple[int, ...], who: str) -> Tensor:
    """The scores, if they can be trained on."""
    wanted = "1 value a row" if out_features == 1 else f"{out_features:,} values a row, one for each class"
    must = f"the model must return {wanted}"
    try:
        scores = scores_in(output, rows, widths)
    except NoScoresError as error:
        hint = "return the scores alone, or call them logits"
        raise ArgumentError(explain(who, must, str(error), hint)) from None
    shape = tuple(scores.shape)
    got = f"an output of shape {shape} for {rows} rows"
    if scores.dim() == 0 or shape[0] != rows:
        hint = "the first axis of the output must be the batch's: use flatten(1) or view(x.size(0), -1)"
        raise ArgumentError(explain(who, must, got, hint))
    if not scores.is_floating_point():
        hint = "return scores, without argmax or rounding"
        raise ArgumentError(explain(who, must, f"an output of {_dtype(scores)}", hint))
    if scores.numel() not in [rows * width for width in widths]:
        hint = (
            "the output must have one value a row: predict for the image as a whole"
            if len(shape) > 2
            else "take the number as a parameter, out_features or num_classes, or set it by --model-args"
        )
        raise ArgumentError(explain(who, must, got, hint))
    if not scores.requires_grad:
        hint = "is there a no_grad(), detach() or a frozen model"
        raise ArgumentError(explain(who, "the output must depend on what is trained", "one without", hint))
    return scores


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _mode(training: bool) -> str:
    return "training" if training else "evaluation"


def _batch_words(batch: Tensor) -> str:
    sizes = " × ".join(str(n) for n in batch.shape[1:])
    return f"{len(batch)} rows of {sizes}" + (" values" if batch.dim() == 2 else "")
