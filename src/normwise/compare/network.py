"""From a network, a variant and the data's shape to a module with its initial weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from normwise import layers
from normwise.compare.network_norms import Standing, described, line_of, standing, vary
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.variant import Variant
from normwise.errors import ArgumentError, explain
from normwise.functional.ghost_batch_norm import ghost_sizes
from normwise.initialize import initialize_
from normwise.initialize._layers import weighted_layers
from normwise.models import SingleLogit, UserModel, cnn, load_user_model, mlp, paired_draws
from normwise.models.user import weighted
from normwise.models.user_fill import Facts
from normwise.models.user_try import check_batch, check_variant
from normwise.norms import OWN
from normwise.results.edits import Edits

_ROWS = 5
"""Of the made-up batch on which a user's model is looked at."""

_GHOSTS = (layers.GhostBatchNorm1d, layers.GhostBatchNorm2d)


def build(
    network: Network, variant: Variant, in_shape: tuple[int, ...], out_features: int, *, seed: int = 0
) -> nn.Module:
    """The module with the weights of its builder's own draw, which `initialize` keeps or draws anew.

    That draw depends on `seed` and on the shapes: networks that differ in their normalization start from equal
    weights where the shapes agree.

    Raises:
        ArgumentError: the network does not fit the data or the normalization does not fit the network.
    """
    if network.kind == "model":
        return _users(network, variant, in_shape, out_features, seed)[0]
    with paired_draws(seed):
        if network.kind == "mlp":
            return _mlp(network, variant, in_shape, out_features)
        return _cnn(network, variant, in_shape, out_features)


def _shared(network: Network, variant: Variant) -> dict[str, Any]:
    return {
        "activation": network.activation,
        "norm": variant.norm,
        "position": variant.position,
        "dropout": variant.dropout,
        "norm_output": variant.norm_output,
    }


def _mlp(network: Network, variant: Variant, in_shape: tuple[int, ...], out_features: int) -> nn.Module:
    shared = _shared(network, variant)
    if not network.single_logit:
        return mlp(in_shape, out_features, widths=network.widths, **shared)
    if out_features != 2:
        has = "numbers to predict" if out_features == 1 else f"{out_features:,} classes"
        raise ArgumentError(explain("compare", "`single_logit` is for two classes", has))
    return SingleLogit(mlp(in_shape, 1, widths=network.widths, **shared))


def _cnn(network: Network, variant: Variant, in_shape: tuple[int, ...], out_features: int) -> nn.Module:
    if len(in_shape) != 3:
        raise ArgumentError(
            explain("compare", "a cnn needs images", f"rows of {in_shape[0]} columns", "use --network mlp")
        )
    return cnn(
        (in_shape[0], in_shape[1], in_shape[2]),
        out_features,
        channels=network.channels,
        head=network.head,
        residual=network.residual,
        pool=pooling(network, in_shape),
        reduce=network.reduce,
        norm_head=variant.kind.fits_features,  # a head has no positions to average over
        **_shared(network, variant),
    )


def _users(
    network: Network, variant: Variant, in_shape: tuple[int, ...], out_features: int, seed: int
) -> tuple[nn.Module, Edits | None]:
    """The user's model for a variant, and what became of its norms where it takes none as a parameter.

    What the model cannot do is refused, so that no variant is one in name only.
    """
    user = user_model(network)
    takes_norm = "norm" in user.varies
    dropout = variant.dropout if "dropout" in user.varies else 0.0
    must: str | None = None
    if variant.dropout and not dropout:
        must = "for a dropout rate the model must take a parameter `dropout`"
    elif takes_norm and (variant.norm_output or variant.position == "after"):
        must = "where it normalizes, the model itself must decide"
    if must is not None:
        raise ArgumentError(
            explain(user.title, must, f"the variant {variant.name!r}", "leave that variant away")
        )
    model = user.build(
        in_shape,
        out_features,
        norm=variant.norm if takes_norm and variant.norm != OWN else "none",
        activation=asked_activation(network),
        dropout=dropout,
        seed=seed,
    )
    if takes_norm:
        return model, None
    with user.running(), paired_draws(seed):
        return model, vary(model, variant, _example(in_shape), user.title)


def surgery_line(
    network: Network, variant: Variant, in_shape: tuple[int, ...], out_features: int
) -> list[str]:
    """The line by which a user's model that takes no normalization gets a variant's; none where it is as built."""
    user = user_model(network)
    if "norm" in user.varies:
        return []
    model = user.build(in_shape, out_features, activation=asked_activation(network))
    with user.running():
        return line_of(model, variant, _example(in_shape), user.title)


def _example(in_shape: tuple[int, ...]) -> Tensor:
    return torch.randn(_ROWS, *in_shape, generator=torch.Generator().manual_seed(0))


def standing_of(network: Network, in_shape: tuple[int, ...], out_features: int) -> Standing:
    """What normalization a user's model brings.

    Raises:
        ArgumentError: it cannot be built for such data.
    """
    user = user_model(network)
    model = user.build(in_shape, out_features, activation=asked_activation(network))
    with user.running():
        return standing(model, _example(in_shape))


def asked_activation(network: Network) -> str | None:
    """None for the one that networks have where nobody asks: a user's model then keeps its own."""
    return None if network.activation == Network.model_fields["activation"].default else network.activation


def user_model(network: Network) -> UserModel:
    """The user's model of a network, imported once a process, and anew where its source is another.

    Raises:
        ArgumentError: as `load_user_model`; or its source is not the one that the question was asked about.
    """
    if not network.fingerprint:
        return load_user_model(network.model, dict(network.model_args))
    return _known_model(network)


@lru_cache(maxsize=8)
def _known_model(network: Network) -> UserModel:
    user = load_user_model(network.model, dict(network.model_args))
    if user.fingerprint != network.fingerprint:
        raise ArgumentError(
            explain(
                user.title,
                "the source must stay as it is while a comparison runs",
                "another one than at its start",
                "start again: an edited model is another question",
            )
        )
    return user


def pooling(network: Network, in_shape: tuple[int, ...]) -> str:
    """Average pooling between blocks, unless the image would be used up before the last one: then none at all."""
    return "average" if min(in_shape[1:]) >> (len(network.channels) - 1) >= 1 else "none"


def initialize(
    model: nn.Module,
    variant: Variant,
    network: Network,
    initialization: Initialization,
    *,
    seed: int,
    batch: Tensor,
) -> None:
    """Draw the initial weights: equal for equal seeds and shapes, whatever normalization lies between.

    The scheme "own" keeps the draw that `build` made under its seed, and its scale multiplies the weights of linear
    layers and convolutions. The other schemes draw these layers anew and leave all others as they were built.
    Weight normalization then gets its data-dependent initialisation from the batch (Salimans & Kingma 2016); what
    else lies in weights keeps what was drawn as far as it can.
    """
    if initialization.scheme == "own":
        if initialization.scale != 1.0:
            for layer in _weighted(model):
                layer.multiply_weight_(initialization.scale)
    elif network.kind != "model" or weighted(model):
        initialize_(
            model,
            initialization.scheme,
            scale=initialization.scale,
            seed=seed,
            batch=batch,
            activation=network.activation,
        )
    if variant.kind.start:
        with torch.no_grad():
            getattr(layers, variant.kind.start)(model, batch)


def _weighted(model: nn.Module) -> Sequence[Any]:
    """The weights of linear layers and convolutions, shared ones once, for a factor alone: nothing is drawn."""
    return weighted_layers(model, 0, 1.0) if weighted(model) else ()


def try_batch(
    network: Network, variant: Variant, model: nn.Module, inputs: Tensor, targets: Tensor, out_features: int
) -> tuple[str, ...]:
    """Run a batch through a built network; of a user's model, all that can go wrong is found and explained.

    Returns:
        Sentences on what was seen: of a variant that is another one for batches of this size, of a user's model.

    Raises:
        ArgumentError: an exception of the user's code; outputs or gradients that are not finite; a normalization or
            a dropout rate that changes nothing.
    """
    notes = list(_remarks(network, variant, model, len(inputs)))
    if network.kind != "model":
        model(inputs)
        return tuple(notes)
    user = user_model(network)
    notes += check_batch(user, model, inputs, targets)
    shape = tuple(inputs.shape[1:])
    check_variant(
        user, inputs, Facts(shape, out_features, variant.norm, asked_activation(network), variant.dropout)
    )
    return tuple(notes)


def _remarks(network: Network, variant: Variant, model: nn.Module, rows: int) -> Iterator[str]:
    """What a reader must know of a variant's normalization."""
    for size in {m.ghost_size for m in model.modules() if isinstance(m, _GHOSTS)}:
        if sum(number for number, _ in ghost_sizes(rows, size)) > 1:
            continue
        yield (
            f"{variant.name}: a batch of {rows} is one ghost, so that it trains as Batch Normalization does; "
            f"name a smaller ghost, as in ghost:{max(2, rows // 4)}"
        )
    if network.kind == "model" and variant.kind.is_activation:
        yield (
            f"{variant.name}: {variant.kind.title} holds its own activation; the model must leave its activation away "
            "behind it"
        )


def notes_of_model(network: Network, in_shape: tuple[int, ...], out_features: int) -> tuple[str, ...]:
    """Sentences on a user's model: what it was given, what was put around it, what it ends in; else none.

    Raises:
        ArgumentError: the model does not fit the data.
    """
    if network.kind != "model":
        return ()
    return user_model(network).notes(in_shape, out_features, activation=asked_activation(network))


def notes_of_norms(
    network: Network, variants: Sequence[Variant], in_shape: tuple[int, ...], out_features: int
) -> tuple[str, ...]:
    """Sentences on where the variants' norms stand in a user's model that takes none as a parameter; else none."""
    if network.kind != "model" or "norm" in user_model(network).varies:
        return ()
    edits = {
        variant.name: _users(network, variant, in_shape, out_features, 0)[1]
        for variant in {(v.norm, v.position, v.norm_output): v for v in variants}.values()
    }
    return described(edits, standing_of(network, in_shape, out_features).kinds)


def count_parameters(model: nn.Module) -> int:
    """The number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def describe(network: Network, in_shape: tuple[int, ...], out_features: int) -> str:
    """The network in words.

    >>> describe(Network(kind="mlp", widths=(64, 32)), (20,), 3)
    'multilayer perceptron 20-64-32-3, relu'
    """
    if network.kind == "model":
        return _describe_users(network, in_shape, out_features)
    if network.kind == "mlp":
        outputs = 1 if network.single_logit else out_features
        sizes = "-".join(str(n) for n in (math.prod(in_shape), *network.widths, outputs))
        logit = ", one logit for the two classes" if network.single_logit else ""
        return f"multilayer perceptron {sizes}, {network.activation}{logit}"
    channels = "-".join(str(n) for n in (in_shape[0], *network.channels))
    head = "-".join(str(n) for n in (*network.head, out_features))
    between = "average" if pooling(network, in_shape) == "average" else "no"
    residual = ", residual" if network.residual else ""
    return (
        f"convolutional network, 3×3 convolutions {channels}, {between} pooling between, "
        f"{network.reduce} over positions, head {head}, "
        f"{network.activation}{residual}"
    )


def _describe_users(network: Network, in_shape: tuple[int, ...], out_features: int) -> str:
    user = user_model(network)
    model = user.build(in_shape, out_features, activation=asked_activation(network))
    layers = len(weighted(model))
    return (
        f"{user.title}, {count_parameters(model):,} parameters, "
        f"{layers:,} weighted layer{'' if layers == 1 else 's'}"
    )
