"""From names of files to a subject: the user's model, and data by name or path."""

from __future__ import annotations

import ast
import contextlib
import inspect
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from normwise.data import Dataset
from normwise.diagnose.choices import LOSSES, OF_CLASSES, Training
from normwise.diagnose.subject import Data, Setup, Subject
from normwise.errors import ArgumentError, NormwiseError, explain
from normwise.models.user import UserModel
from normwise.models.user_adapt import Adaptation, Adapted
from normwise.models.user_fill import Facts
from normwise.models.user_place import parse_source
from normwise.models.user_words import exception_words

_WHO = "diagnose"
_BATCH_ROWS = 256
_MADE_UP_ROWS = 32
_EVALUATED_ROWS = 4096
_OF_PROBABILITIES = "bce"


@dataclass(frozen=True, eq=False)
class Found:
    """A subject, and where it comes from.

    Attributes:
        subject: as `examine` takes it.
        notes: what was done to data and model.
        user: the builder.
    """

    subject: Subject
    user: UserModel = field(repr=False)
    notes: tuple[str, ...] = ()


def with_data(user: UserModel, data: Dataset, training: Training, *, raw: bool = False) -> Found:
    """The user's model on data, prepared and split as `compare` does it, with a training to watch.

    Args:
        user: the builder.
        data: what it is trained on.
        training: how.
        raw: whether numbers keep the units of the file, as in a program that does not standardise.

    Raises:
        ArgumentError: the model does not run on the data, or the loss is not for such targets.
    """
    rows = max(training.steps * training.batch_size, _EVALUATED_ROWS)
    split = data.split(training.seed, most=(rows, _EVALUATED_ROWS, 1), standardise=not raw)
    part, held_out = split.train, split.validation
    if training.loss in OF_CLASSES and data.task == "regression":
        must = f"--loss {training.loss} needs classes"
        got = f"{data.target!r}, a quantity"
        raise ArgumentError(explain(_WHO, must, got, "use --loss mse"))
    facts = Facts(split.in_shape, split.out_features)
    model, how = fitted(user, facts, training)
    name = training.loss or _usual_loss(how, data.task)
    inputs, targets = part.inputs[:_BATCH_ROWS], part.targets[:_BATCH_ROWS]
    check_loss(model, name, inputs, targets)
    choice = training.choice()
    title = (
        f"{user.title} on {data.name}: {len(part.inputs):,} training rows of {data.inputs}, {choice.name} at "
        f"{choice.lr:g}, batches of {training.batch_size}, {training.steps} steps"
    )
    subject = Subject(
        model,
        title,
        inputs,
        targets,
        LOSSES[name],
        setup=Setup(model, choice, training.batch_size, LOSSES[name], example=inputs),
        data=Data(
            part.inputs,
            part.targets,
            held_out.inputs,
            held_out.targets,
            data.task,
            split.out_features if data.task == "classification" else 0,
        ),
        build=lambda seed: fitted(user, facts, replace(training, seed=seed))[0],
        steps=training.steps,
    )
    return Found(subject, user, (*data.warnings, *split.notes, *_notes(how, split.in_shape, name)))


def with_shape(user: UserModel, shape: Sequence[int], outputs: int, training: Training) -> Found:
    """The user's model alone, with random numbers of a shape for a batch.

    Args:
        user: the builder.
        shape: of one sample.
        outputs: for a builder that asks for them.
        training: what is known of it.

    Raises:
        ArgumentError: the model does not run on such a batch.
    """
    model = user.plain(tuple(shape), outputs)
    inputs = torch.randn(_MADE_UP_ROWS, *shape, generator=torch.Generator().manual_seed(0))
    output = _tried(user, model, inputs)
    targets = _made_up(output, training.loss)
    name = training.loss or ("mse" if targets is None or targets.is_floating_point() else "cross_entropy")
    if targets is not None:
        check_loss(model, name, inputs, targets)
    loss = None if targets is None else LOSSES[name]
    setup = None
    if loss is not None and training.asks_for_optimizer:
        setup = Setup(model, training.choice(), training.batch_size, loss, example=inputs)
    subject = Subject(
        model,
        f"{user.title} on random input of {', '.join(map(str, shape))} (no data)",
        inputs,
        targets,
        loss,
        made_up=True,
        setup=setup,
        steps=training.steps,
    )
    return Found(subject, user)


def _tried(user: UserModel, model: nn.Module, inputs: Tensor) -> Any:
    """What the model gives in evaluation; lazy layers have their shapes afterwards, and modes are as they were."""
    # Not `left_alone`: it would take the shapes of lazy buffers back.
    modes = [(module, module.training) for module in model.modules()]
    with user.running(), torch.no_grad():
        model.eval()
        size = " × ".join(map(str, inputs.shape))
        output = user.call(lambda: model(inputs), f"a forward pass of {size}")
    for module, training in modes:
        module.training = training
    return output


def fitted(user: UserModel, facts: Facts, training: Training) -> tuple[nn.Module, Adaptation]:
    """The user's network, fitted to data by hooks, so that its layers keep the names that they have in the source."""
    model, how, _ = user.made(facts, training.seed)
    if not isinstance(model, Adapted):
        return model, how
    network = model.network
    network.register_forward_pre_hook(partial(_input_hook, how))
    task = "classification" if facts.out_features > 1 else "regression"
    probable = (training.loss or _usual_loss(how, task)) == _OF_PROBABILITIES
    network.register_forward_hook(partial(_output_hook, how, facts.out_features, probable))
    return network, how


def _usual_loss(how: Adaptation, task: str) -> str:
    """What such a model is trained by: one output behind a sigmoid is a probability."""
    if how.logit and how.end == "a sigmoid":
        return _OF_PROBABILITIES
    return "cross_entropy" if task == "classification" else "mse"


def _notes(how: Adaptation, in_shape: tuple[int, ...], loss: str) -> tuple[str, ...]:
    """What stands between data and model."""
    pair = "output p is taken as probabilities (1 − p, p), its loss as bce"
    pair = pair if loss == _OF_PROBABILITIES else "output z is taken as the two logits (0, z)"
    size = " × ".join(map(str, in_shape))
    told = {
        f"the model takes rows: images of {size} are flattened for it": how.flatten,
        "the model returns more than a tensor: its scores are taken": how.pick,
        f"the model's one {pair}": how.logit,
    }
    return tuple(words for words, holds in told.items() if holds)


def _input_hook(how: Adaptation, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    x = args[0].clone() if how.clone else args[0]
    return (x.flatten(1) if how.flatten else x,)


class _Given(nn.Module):
    """Stands for a network that has already answered."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    def forward(self, _: Tensor) -> Any:
        return self._answer


def _output_hook(
    how: Adaptation, out_features: int, probable: bool, _: nn.Module, args: tuple[Any, ...], output: Any
) -> Any:
    scores = Adapted(_Given(output), replace(how, clone=False, flatten=False), out_features)(args[0])
    if not (how.logit and probable):
        return scores
    p = scores[:, 1:]
    return torch.cat([1 - p, p], dim=1)


def check_loss(model: nn.Module, name: str, inputs: Tensor, targets: Tensor) -> None:
    """Raise `ArgumentError` unless the loss of that name takes what the model gives."""
    from normwise.monitor.preserve import preserved

    with preserved(model, training=False), torch.no_grad():
        output = model(inputs)
    try:
        LOSSES[name](output, targets)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        got = f"outputs {shape} and targets {tuple(targets.shape)}: {str(error).splitlines()[0].rstrip('.')}"
        must = f"--loss {name} must take what the model gives"
        raise ArgumentError(explain(_WHO, must, got, f"one of --loss {', '.join(LOSSES)}")) from None


@contextlib.contextmanager
def explained(found: Found) -> Iterator[None]:
    """Explain what is raised in the block inside of the model; other exceptions are ours, and stay as they are."""
    try:
        yield
    except NormwiseError:
        raise
    except Exception as error:
        if not _inside_a_module(error):
            raise
        got = exception_words(error, found.user.place.roots)
        raise ArgumentError(explain(found.user.title, "the model must train", got)) from None


def _inside_a_module(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename == inspect.getsourcefile(nn.Module) for frame in frames)


def setup_of(found: Found) -> Setup:
    """The subject's training; without one, the usual one with the model."""
    subject = found.subject
    if subject.setup is not None:
        return subject.setup
    loss = subject.loss or LOSSES["mse"]
    return Setup(subject.model, Training().choice(), _MADE_UP_ROWS, loss, example=subject.inputs)


def defined_at(found: Found) -> tuple[str, int]:
    """The file and the line of the model's class or builder; "" and 0 where they are not known.

    The file is relative to the repository that GitHub checked out, or to the working directory.
    """
    place, name = found.user.place, found.user.title.rpartition(":")[2]
    kind = type(found.subject.model)
    if place.file is None:
        with contextlib.suppress(OSError, TypeError):
            return _relative(inspect.getsourcefile(kind) or ""), inspect.getsourcelines(kind)[1]
        return "", 0
    nodes = ast.walk(parse_source(place.file, found.user.title))
    lines = {
        node.name: node.lineno
        for node in nodes
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return _relative(str(place.file)), lines.get(kind.__name__) or lines.get(name.partition(".")[0]) or 1


def _relative(file: str) -> str:
    path, here = Path(file), Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()


def _made_up(output: Any, loss: str | None) -> Tensor | None:
    """Classes for scores (N, C), numbers for anything else; None where the model gives more than a tensor."""
    if not isinstance(output, Tensor):
        return None
    generator = torch.Generator().manual_seed(1)
    scores = output.dim() == 2 and output.shape[1] > 1
    binary = loss in (_OF_PROBABILITIES, "bce_with_logits")
    if loss in OF_CLASSES or (scores and (binary or loss is None)):
        return torch.randint(output.shape[1], (len(output), *output.shape[2:]), generator=generator)
    if binary:
        return torch.randint(2, output.shape, generator=generator).float()
    return torch.randn(output.shape, generator=generator)


def parsed_arguments(typed: Sequence[str]) -> Mapping[str, str]:
    """Read "width=128".

    Raises:
        ArgumentError: one of them has no name or no value.
    """
    pairs = [text.partition("=") for text in typed]
    for (name, equals, _), text in zip(pairs, typed, strict=True):
        if not equals or not name.strip().isidentifier():
            raise ArgumentError(
                explain(_WHO, "--model-args takes name=value", repr(text), "write --model-args width=128")
            )
    return {name.strip(): value.strip() for name, _, value in pairs}
