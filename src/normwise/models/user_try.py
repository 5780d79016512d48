"""Try a user's model on one real batch, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.errors import ArgumentError, explain
from normwise.models.left_alone import left_alone
from normwise.models.user import UserModel, weighted
from normwise.models.user_fill import Facts, role_of
from normwise.models.user_scores import last_function
from normwise.models.user_words import listed

_MOST_NAMED = 3


@dataclass(frozen=True)
class Tried:
    """A model that can be trained, and what is to be known of it.

    Attributes:
        notes: sentences; those that begin with "Warning:" say what will make the training bad.
        parameters: the number of trained values.
        weighted_layers: the number of linear layers and convolutions.
    """

    notes: tuple[str, ...]
    parameters: int
    weighted_layers: int


def try_model(
    user: UserModel,
    inputs: Tensor,
    targets: Tensor,
    out_features: int,
    *,
    norm: str = "none",
    activation: str | None = None,
    dropout: float = 0.0,
) -> Tried:
    """Build the model for a variant, run a batch forward in both modes and backward.

    Args:
        user: from `load_user_model`.
        inputs: (N, F) or (N, C, H, W), float32; at least 2 rows.
        targets: (N,), classes in int64 or numbers in float32.
        out_features: number of classes, or 1 for regression.
        norm, activation, dropout: as `UserModel.build` takes them.

    Raises:
        ArgumentError: anything that would make a training of it meaningless, in one line.
    """
    shape = tuple(inputs.shape[1:])
    facts = Facts(shape, out_features, norm, activation, dropout)
    model = user.made(facts, 0)[0]
    notes = [
        *user.notes(shape, out_features, activation=activation),
        *check_batch(user, model, inputs, targets),
    ]
    check_variant(user, inputs, facts)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Tried(tuple(notes), trained, len(weighted(model)))


def check_batch(user: UserModel, model: nn.Module, inputs: Tensor, targets: Tensor) -> list[str]:
    """Forward in both modes and backward on a real batch; the model is as before, apart from gradients set to None.

    Args:
        user: where the model came from.
        model: from its `build`.
        inputs, targets: as `try_model` takes them.

    Returns:
        Sentences on what was seen.

    Raises:
        ArgumentError: an exception, values that are not finite, no gradient for any parameter.
    """
    found: list[str] = []
    with user.running(), _fixed_draws():
        for training in (False, True):
            mode = "training" if training else "evaluation"
            with left_alone(model, training=training), torch.enable_grad():
                output = user.call(partial(model, inputs), f"a forward pass in {mode} mode")
                if not bool(torch.isfinite(output).all()):
                    share = float((~torch.isfinite(output)).float().mean())
                    got = f"{share:.0%} that are infinite or not a number, in {mode} mode"
                    hint = "the inputs are standardised: is there a division, a log or a root in the model"
                    raise ArgumentError(explain(user.title, "the outputs must be finite", got, hint))
                if training:
                    found += _trained(user, model, output, targets)
                    continue
                if not _varies(output):
                    found.append("Warning: it returns the same values for all rows of a first batch.")
                again = user.call(partial(model, inputs), "a second forward pass")
                if not torch.allclose(output, again, rtol=1e-3, atol=1e-5):
                    found.append(
                        "Warning: in evaluation mode it returns other values each time, so that its metric is "
                        "one of a random draw. Is F.dropout called without training=self.training?"
                    )
        if _sums_to_one(output) and last_function(output) is None:  # else the notes on the model say it
            found.append(
                "Warning: its outputs are probabilities, and the cross-entropy applies its own softmax to them: "
                "return the logits."
            )
    return found


def check_variant(user: UserModel, inputs: Tensor, facts: Facts) -> None:
    """Raise if the model takes a normalization or a dropout rate and is the same network without it.

    Args:
        user: where the model came from.
        inputs: (N, *).
        facts: what a variant asks of it.
    """
    if facts.norm != "none" and "norm" in user.varies and _alike(user, inputs, facts, norm="none"):
        must = f"the norm that it takes must change the network: {facts.norm!r} builds the same one as 'none'"
        hint = "use it, as in normwise.models.norm_layer(norm, width), or take no such parameter"
        raise ArgumentError(explain(user.title, must, "equal outputs", hint))
    if facts.dropout and "dropout" in user.varies and _alike(user, inputs, facts, dropout=0.0):
        rate = f"{facts.dropout:g}"
        must = f"the dropout rate that it takes must change the network: {rate} builds the same one as none given"
        taken = [name for name, p in user._parameters.named.items() if role_of(p) == "dropout"]
        own = [n for n in taken if user._parameters.named[n].default == facts.dropout]
        hint = (
            f"{own[0]} is {rate} by default: ask for another rate" if own else "use it, as in nn.Dropout(p)"
        )
        raise ArgumentError(explain(user.title, must, "equal outputs", hint))


def _trained(user: UserModel, model: nn.Module, output: Tensor, targets: Tensor) -> Iterator[str]:
    """A backward pass; yields what it does not reach."""
    regression = targets.is_floating_point()
    loss = F.mse_loss(output.squeeze(1), targets) if regression else F.cross_entropy(output, targets)
    user.call(loss.backward, "a backward pass")
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    missed = [name for name, p in trained.items() if p.grad is None]
    bad = [n for n, p in trained.items() if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
    model.zero_grad(set_to_none=True)
    if len(missed) == len(trained):
        hint = "is there a no_grad() or detach() in forward"
        raise ArgumentError(
            explain(user.title, "the loss must depend on the parameters", "no gradient", hint)
        )
    if bad:
        must = "the gradients must be finite"
        raise ArgumentError(explain(user.title, must, f"infinite or undefined ones for {_names(bad)}"))
    if missed:
        some = "parameter gets" if len(missed) == 1 else "parameters get"
        yield f"{len(missed):,} {some} no gradient: {_names(missed)}."


def _names(names: list[str]) -> str:
    shown = [name.removeprefix("network.") for name in names[:_MOST_NAMED]]
    more = len(names) - len(shown)
    return f"{', '.join(shown)} and {more:,} more" if more else listed(shown)


@contextmanager
def _fixed_draws() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _varies(output: Tensor) -> bool:
    return len(output) < 2 or bool((output != output[:1]).any())


def _sums_to_one(output: Tensor) -> bool:
    if output.shape[1] < 2:
        return False
    sums = output.detach().sum(dim=1)
    return bool((output >= 0).all()) and bool(((sums - 1).abs() < 1e-4).all())


def _alike(user: UserModel, inputs: Tensor, facts: Facts, **without: Any) -> bool:
    """Whether the networks with and without something have the same parts and answer a batch alike."""
    one = user.made(facts, 0)[0]
    try:
        other = user.made(replace(facts, **without), 0)[0]
    except ArgumentError:  # it cannot be built without, and whoever does not ask for that need not know
        return False
    if _parts(one) != _parts(other):
        return False
    outputs: list[Any] = []
    for model in (one, other):
        with user.running(), _fixed_draws(), left_alone(model, training=True), torch.no_grad():
            outputs.append(user.call(partial(model, inputs), "a forward pass"))
    return torch.equal(outputs[0], outputs[1])


def _parts(model: nn.Module) -> list[object]:
    modules = [(name, type(m).__name__) for name, m in model.named_modules()]
    return [*modules, *((name, tuple(t.shape)) for name, t in model.state_dict().items())]
