"""What a reader must know of how a user's model was used, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Parameter

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from normwise.models.norm import NORMS
from normwise.models.user_adapt import Adaptation
from normwise.models.user_fill import Facts, Filled, is_norm, role_of
from normwise.models.user_parameters import Parameters
from normwise.models.user_words import listed

_DRAWN_ANEW = (nn.Linear, nn.modules.conv._ConvNd)


def notes_of(
    name: str,
    filled: Filled,
    parameters: Parameters,
    varies: frozenset[str],
    how: Adaptation,
    facts: Facts,
    model: nn.Module,
    *,
    dtype: str,
    same_draw: bool,
) -> tuple[str, ...]:
    """The sentences, those about arguments first.

    Args:
        name: of the builder.
        filled: what it was given.
        parameters: what it takes.
        varies: what a variant changes of it.
        how: what stands around it.
        facts: of the data.
        model: as built.
        dtype: that it came in, if not float32.
        same_draw: whether two seeds gave equal weights.
    """
    return (
        *_given(name, filled, parameters, varies),
        *_put_around(how, facts),
        *_ending(how, facts),
        *([f"The model came in {dtype} and is trained in float32, as the inputs are."] if dtype else []),
        *_draws(model, same_draw),
    )


def _given(name: str, filled: Filled, parameters: Parameters, varies: frozenset[str]) -> Iterator[str]:
    roles = {n: role_of(p) for n, p in parameters.named.items()}
    said = dict(filled.said)
    for parameter in said:
        if roles.get(parameter) == "norm" and "norm" in varies:
            said[parameter] = f"each variant's normalization as {parameter}"
    if said:
        yield f"{name} is given {listed(list(said.values()))}."
    for parameter, role in roles.items():
        default = parameters.named[parameter].default
        if role == "dropout" and parameter not in filled.values and default:
            yield f"{parameter} keeps its default of {default} where a variant has no dropout of its own."
        if role == "activation" and default not in (Parameter.empty, None):
            shown = default.__name__ if hasattr(default, "__name__") else repr(default)
            if parameter not in filled.values:
                yield f"{parameter} keeps its default of {shown}."
            elif filled.values[parameter] != default:
                yield f"{parameter} would be {shown} by default."
    if "norm" not in varies:
        yield f"{_why_no_norm(name, filled, parameters)}: what variants have is put into the network that it builds."
    elif not any(role == "norm" for role in roles.values()):
        yield f"Where {name} passes its keyword arguments on to is not known; it is given norm among them."


def _why_no_norm(name: str, filled: Filled, parameters: Parameters) -> str:
    own = next((p for p in parameters.named.values() if is_norm(p)), None)
    if own is None:
        return f"{name} takes no normalization (a parameter `norm` or `norm_layer`)"
    if own.name in filled.values:
        return f"{own.name}, the normalization, is fixed"
    known = ", ".join(NORMS)
    return f"{own.name}={own.default!r} is no name that variants have for a normalization ({known})"


def _put_around(how: Adaptation, facts: Facts) -> Iterator[str]:
    if how.flatten:
        shape = " × ".join(str(n) for n in facts.in_shape)
        yield f"The model takes rows: images of {shape} are flattened."
    if how.clone:
        yield "Its forward pass changes its input in place, so it gets a copy."
    if how.pick:
        yield "It returns more than one tensor; its logits are taken, and the others are not trained on."
    if how.reshape:
        shape = f"(rows, {1 if how.logit else facts.out_features})"
        yield f"Its output is reshaped to {shape}."
    if how.cast:
        yield "Its output is converted to float32."
    if how.logit:
        yield "Its one output z is read as the logit of the second of the two classes, against 0 for the first."


def _ending(how: Adaptation, facts: Facts) -> Iterator[str]:
    if how.end is None:
        return
    classes = facts.out_features > 1
    if how.end == "a log-softmax" and classes:
        yield "It ends in a log-softmax, which the cross-entropy repeats without changing anything."
    elif how.end in ("a softmax", "a sigmoid") and classes:
        end = how.end.removeprefix("a ")
        own = "sigmoid" if how.logit else "softmax"
        again = "its own" if end == own else f"a {own} of its own"
        yield (
            f"Warning: it ends in a {end}, but the cross-entropy applies {again} to what the model returns: "
            f"gradients are far too small. Remove the {end} and return the logits."
        )
    elif classes:
        yield f"Warning: it ends in {how.end}, which limits the logits. Remove it and return the logits."
    else:
        yield (
            f"Warning: it ends in {how.end}, but the target is standardised to mean 0 and deviation 1, and "
            "such an output cannot reach all of it. Remove it."
        )


def _draws(model: nn.Module, same_draw: bool) -> Iterator[str]:
    if same_draw:
        yield (
            "Its initial weights are the same with every seed (loaded, constant, or made elsewhere than in this "
            "file): under the initialization 'own', seeds differ in split, order of the rows and dropout alone."
        )
    owners = (m for m in model.modules() if next(m.parameters(recurse=False), None) is not None)
    # A parametrized weight lies in modules of its own; its layer is drawn anew all the same.
    drawn = (*_DRAWN_ANEW, ParametrizationList)
    others = {type(m).__name__ for m in owners if not isinstance(m, drawn) and not _is_norm(m)}
    if others:
        yield (
            f"Initializations other than 'own' leave the parameters of {listed(sorted(others))} as the model "
            "drew them; they are for linear layers and convolutions."
        )

    computed = sum(isinstance(m, _DRAWN_ANEW) and _is_computed(m) for m in model.modules())
    if computed:
        layers = "1 layer" if computed == 1 else f"{computed:,} layers"
        yield (
            f"No initialization, nor a factor on it, reaches the weights of {layers}: weight_norm or spectral_norm of "
            "torch.nn.utils computes them from others; those of torch.nn.utils.parametrizations can be drawn."
        )


def _is_computed(layer: nn.Module) -> bool:
    """Whether a hook of the old kind computes the weight before each forward pass."""
    return "weight" not in layer._parameters and "parametrizations" not in layer._modules


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__
