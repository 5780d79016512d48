"""Every exception that normwise raises on purpose.

::

    NormwiseError
    ├── ArgumentError   (ValueError)   an argument has the right type and a wrong value
    ├── UnknownNameError (LookupError) a name that is not among the known ones
    ├── DataError       (ValueError)   a table, image or array cannot be used as it is
    ├── StoreError      (RuntimeError) a run directory cannot be used as it is
    ├── BackendError    (RuntimeError) a back end that was asked for by name cannot take the call
    ├── BuildError      (RuntimeError) an extension cannot be compiled on this machine
    └── MissingPackageError (ImportError) an optional package is needed and not installed

A message says who, what must hold, what came, and the likely remedy; `explain` puts the four in their places.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NormwiseError(Exception):
    """Base of all errors that normwise raises on purpose."""


class ArgumentError(NormwiseError, ValueError):
    """An argument has the right type and a wrong value."""


class UnknownNameError(NormwiseError, LookupError):
    """A name that is not among the known ones."""


class DataError(NormwiseError, ValueError):
    """A table, image or array cannot be used as it is."""


class StoreError(NormwiseError, RuntimeError):
    """A run directory cannot be used as it is."""


class BuildError(NormwiseError, RuntimeError):
    """An extension cannot be compiled on this machine."""


class BackendError(NormwiseError, RuntimeError):
    """A back end that was asked for by name cannot take the call."""


class MissingPackageError(NormwiseError, ImportError):
    """An optional package is needed and not installed."""


def explain(who: str, must: str, got: str, hint: str | None = None) -> str:
    """Put the parts of an error message in their places.

    >>> explain("GroupNorm", "`num_channels` must be divisible by `num_groups`", "10 and 4", "use a divisor of 10")
    'GroupNorm: `num_channels` must be divisible by `num_groups`. Got 10 and 4. hint: use a divisor of 10.'
    """
    text = f"{who}: {must}. Got {got}."
    return text if hint is None else f"{text} hint: {hint}."


def unknown_name(who: str, what: str, got: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for an unknown name: the nearest known names first, then all of them.

    >>> str(unknown_name("compare", "normalization", "bacth", ["batch", "layer"]))
    "compare: unknown normalization 'bacth'. Did you mean 'batch'? Known: batch, layer."
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(got.lower(), names, n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    return UnknownNameError(f"{who}: unknown {what} {got!r}.{guess} Known: {', '.join(names)}.")
