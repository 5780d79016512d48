"""A network of the user's, out of a file or a module of theirs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.models.norm import Norm
from normwise.models.user_adapt import Adaptation, Adapted, find_adaptation
from normwise.models.user_convert import convert
from normwise.models.user_draws import paired_draws
from normwise.models.user_fill import Facts, fill, varied
from normwise.models.user_guard import guarded
from normwise.models.user_home import Home
from normwise.models.user_import import explained, find_object, import_module
from normwise.models.user_notes import notes_of
from normwise.models.user_parameters import Parameters, parameters_of
from normwise.models.user_place import Place, find_place
from normwise.models.user_source import fingerprint
from normwise.models.user_words import UserCodeError, listed

_TRIED = 5
"""Rows of the made-up batch that shows what a model needs."""


@dataclass(frozen=True, eq=False)
class UserModel:
    """A builder of networks that was found by name; made by `load_user_model`.

    Attributes:
        where: as it was named, "models/resnet.py:ResNet".
        title: the same without folders, "resnet.py:ResNet".
        fingerprint: sha256 over the sources that the model is made of, its name and the arguments.
        varies: which of "norm", "activation" and "dropout" its builder takes.
    """

    where: str
    title: str
    fingerprint: str
    varies: frozenset[str]
    place: Place = field(repr=False)
    _home: Home = field(repr=False)
    _name: str = field(repr=False)
    _object: Any = field(repr=False)
    _parameters: Parameters = field(repr=False)
    _arguments: Mapping[str, Any] = field(repr=False)

    def build(
        self,
        in_shape: tuple[int, ...],
        out_features: int,
        *,
        norm: str = "none",
        activation: str | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> nn.Module:
        """Build the network, and put around it what it needs to go from such data to (N, out_features).

        Its initial weights are its own draw, of random numbers that depend on `seed` alone (`paired_draws`):
        equal for equal seeds and shapes, whatever normalization lies between. Lazy layers have their shapes.
        What lies in weights (``norm="weight"``, "spectral", …) is put on all linear layers and convolutions but the
        last, if the model has none of its own there.

        Args:
            in_shape: (F,) for rows, (C, H, W) for images.
            out_features: number of classes, or 1 for regression.
            norm: a variant's normalization, for a builder that takes one.
            activation: by name; None keeps the builder's own.
            dropout: a variant's rate; 0 keeps the builder's own.
            seed: at least 0.

        Raises:
            ArgumentError: the code raises, returns no module, or one that cannot be used.
        """
        return self.made(Facts(in_shape, out_features, norm, activation, dropout), seed)[0]

    def made(self, facts: Facts, seed: int) -> tuple[nn.Module, Adaptation, str]:
        """As `build`, with what was put around the network, and the dtype that it came in."""
        with self.running(), paired_draws(seed):
            model = self._construct(facts)
            kinds = {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point()}
            model = model.to(device="cpu", dtype=torch.float32)
            rows = _TRIED + 2 * (facts.out_features == _TRIED)
            generator = torch.Generator().manual_seed(0)
            batch = torch.randn(rows, *facts.in_shape, generator=generator)
            try:
                how = find_adaptation(model, batch, facts.out_features, self.title, self.call)
            except UserCodeError as error:
                if "dtype" not in error.words or not kinds - {"float32"}:
                    raise
                must = "forward must take float32, which the model is converted to"
                hint = f"leave the conversion to {listed(sorted(kinds - {'float32'}))} out of the model"
                raise ArgumentError(explain(self.title, must, error.words, hint)) from None
        wrap_weights_(model, facts.norm, self.title)
        whole = model if how.changes_nothing else Adapted(model, how, facts.out_features)
        return whole, how, ", ".join(sorted(kinds - {"float32"}))

    def notes(
        self, in_shape: tuple[int, ...], out_features: int, *, activation: str | None = None
    ) -> tuple[str, ...]:
        """Sentences that say what its parameters were given, and what was put around it.

        Raises:
            ArgumentError: as `build`.
        """
        facts = Facts(in_shape, out_features, activation=activation)
        model, how, dtype = self.made(facts, 0)
        other = self.made(facts, 1)[0]
        if [p.shape for p in model.parameters()] != [p.shape for p in other.parameters()]:
            got = "two networks of different sizes from two calls"
            hint = "does it count or remember something in a global, or draw its sizes at random"
            raise ArgumentError(explain(self.title, "it must build the same network each time", got, hint))
        same = all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
        filled = fill(self._parameters, self._arguments, facts)
        return notes_of(
            self._name, filled, self._parameters, self.varies, how, facts, model, dtype=dtype, same_draw=same
        )

    def plain(self, in_shape: tuple[int, ...], out_features: int) -> nn.Module:
        """The module as the user's code makes it, with nothing put around it; its draw is that of seed 0.

        Raises:
            ArgumentError: as `build`.
        """
        with self.running(), paired_draws(0):
            return self._construct(Facts(in_shape, out_features))

    def is_lazy(self, facts: Facts) -> bool:
        """Whether layers of it get their shapes from the first batch alone; those that `build` returns have them."""
        with self.running(), paired_draws(0):
            return any(isinstance(p, UninitializedParameter) for p in self._construct(facts).parameters())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the block as the user's code: its modules in place, nothing on stdout, no state left behind."""
        runs = guarded(str(self.place.file or self.place.module), training=True, loud=False)
        told = explained(self.place, "the model must be built without errors", "building it")
        with told, runs, self._home.inside():
            yield

    def call(self, function: Callable[[], Any], doing: str) -> Any:
        """Call something of the user's code within `running`; what it raises is explained.

        Args:
            function: without arguments.
            doing: what was called, "a forward pass".
        """
        with explained(self.place, f"{doing} must run", doing):
            return function()

    def _construct(self, facts: Facts) -> nn.Module:
        """What the user's code makes, as it is."""
        made: Any
        if isinstance(self._object, nn.Module):
            made = self.call(self._copy, "copying it")
        else:
            filled = fill(self._parameters, self._arguments, facts)
            if filled.missing:
                names = [f"`{name}`" for name in filled.missing]
                must = f"{listed(names)} of {self._name} must have a value"
                got = (
                    "none: there is no default, and no size of the data goes by that name, as in_features, "
                    "in_channels, in_shape and out_features do"
                )
                also = " for each" if len(names) > 1 else ""
                hint = (
                    f"--model-args {filled.missing[0]}=VALUE{also}, or write a function build() that gives it"
                )
                raise ArgumentError(explain(self.title, must, got, hint))
            given = ", ".join(filled.said[n] for n in filled.values if n not in self._arguments)
            told = f"it was given {given}" if given else None
            with explained(self.place, "building it must run", "building it", told):
                made = _called(self._object, self._parameters, filled.values)
        made = getattr(
            made, "_orig_mod", made
        )  # of torch.compile, which would compile anew in every training
        if not isinstance(made, nn.Module):
            got = "None" if made is None else f"a {type(made).__name__}"
            hint = "is there a return missing" if made is None else "return the network alone"
            raise ArgumentError(explain(self.title, "it must return a torch.nn.Module", got, hint))
        if isinstance(made, torch.jit.ScriptModule):
            got = "one that torch.jit has compiled"
            hint = "return the module as it is before torch.jit.script or trace"
            raise ArgumentError(explain(self.title, "the model must be open to initialization", got, hint))
        if not any(p.requires_grad for p in made.parameters()):
            got = (
                "one whose parameters are all frozen"
                if any(True for _ in made.parameters())
                else "one without"
            )
            raise ArgumentError(explain(self.title, "the model must have parameters to train", got))
        return made

    def _copy(self) -> Any:
        """A module that the file makes when it is imported: made anew, so that each seed draws its own weights."""
        module = self._home.again()
        found: Any = self._object
        if module is not None:
            found = module
            for part in self._name.split("."):
                found = getattr(found, part)
        # Lazy buffers, unlike lazy parameters, do not know how to be copied.
        lazy = [b for b in found.buffers() if isinstance(b, UninitializedBuffer)]
        anew: Any = UninitializedBuffer  # torch's annotations are of another signature
        return copy.deepcopy(found, {id(b): anew(b.requires_grad, b.device, b.dtype) for b in lazy})


def load_user_model(where: str, arguments: Mapping[str, str] | None = None) -> UserModel:
    """Import a network of the user's.

    The file is imported with its own folder on `sys.path`, so that its siblings import; a module is looked up in
    the current directory, then among installed ones. What the code prints goes to stderr, and its imports,
    random numbers and settings of torch leave nothing behind.

    Args:
        where: ``file.py:name`` or ``package.module:name``. The name is that of a function that returns a module, of
            a class, or of a module. Without one it is `build`, else the only module class defined there.
        arguments: further arguments of the builder as text, by name: ``{"width": "128"}``.

    Raises:
        ArgumentError: no such file; it does not import, asks for input, parses arguments, trains; several
            models to choose from; an argument cannot be read.
        UnknownNameError: no such name in it, or no such argument.
        MissingPackageError: it imports what is not installed.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "net.py"
    >>> _ = file.write_text("from torch import nn\\ndef build(in_features, out_features, norm='none', width=8):\\n"
    ...                     "    return nn.Sequential(nn.Linear(in_features, width), nn.Linear(width, out_features))")
    >>> model = load_user_model(f"{file}:build", {"width": "16"})
    >>> model.title, sorted(model.varies)
    ('net.py:build', ['norm'])
    >>> model.build((20,), 3)[0]
    Linear(in_features=20, out_features=16, bias=True)
    """
    arguments = dict(arguments or {})
    place = find_place(where)
    home = Home(place)
    module = import_module(place, home)
    name, found = find_object(module, place)
    named = place.title if place.name else f"{place.title}:{name}"
    place = _titled(place, named)
    parameters = Parameters({}, False) if isinstance(found, nn.Module) else parameters_of(found)
    values = _converted(arguments, parameters, module, place)
    file = place.file or Path(module.__file__ or place.module)
    mark = fingerprint([file, *home.files], place.roots, name, arguments)
    return UserModel(
        where, named, mark, varied(parameters, values), place, home, name, found, parameters, values
    )


def _titled(place: Place, title: str) -> Place:
    return Place(title, place.file, place.module, place.packaged, place.name, place.top, place.roots)


def _converted(
    arguments: Mapping[str, str], parameters: Parameters, module: ModuleType, place: Place
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in arguments.items():
        parameter = parameters.named.get(name)
        if parameter is None and parameters.anything:
            parameter = Parameter(name, Parameter.KEYWORD_ONLY)
        if parameter is None:
            if not parameters.named:
                must = "it takes no arguments"
                raise ArgumentError(explain(place.title, must, name, "name a function or class that does"))
            raise unknown_name(place.title, "argument", name, parameters.named)
        values[name] = convert(text, parameter, vars(module), place.title)
    return values


def _called(builder: Callable[..., Any], parameters: Parameters, values: Mapping[str, Any]) -> Any:
    first = [n for n, p in parameters.named.items() if p.kind is Parameter.POSITIONAL_ONLY and n in values]
    return builder(*(values[n] for n in first), **{n: v for n, v in values.items() if n not in first})


def weighted(model: nn.Module) -> list[nn.Module]:
    """The linear layers and convolutions of a model, in the order in which it names them."""
    return [module for module in model.modules() if isinstance(module, nn.Linear | _ConvNd)]


def wrap_weights_(model: nn.Module, spec: str, who: str) -> None:
    """Put a norm that lies in weights on all weighted layers but the last, unless the model has seen to it itself.

    Any other normalization leaves the model as it is.
    """
    norm = Norm.parse(spec, who)
    layers = weighted(model)
    own = any("parametrizations" in module._modules or "weight_g" in module._parameters for module in layers)
    if own or not norm.kind.weights:
        return
    owners = [id(module.weight) for module in layers]
    for module in layers[:-1]:
        if owners.count(id(module.weight)) == 1:  # a weight that two layers share has one length for both
            norm.wrap(module)
