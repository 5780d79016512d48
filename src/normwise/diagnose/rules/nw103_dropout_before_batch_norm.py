"""Dropout whose noise a batch norm takes for spread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation
from torch.overrides import TorchFunctionMode

from normwise.diagnose.facts import Facts
from normwise.diagnose.norm_inputs import norm_inputs
from normwise.diagnose.remedies import change_dropout
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import Flow, Step, flow, norms_of
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_ACROSS = ("batch", "sync", "ghost", "batch_renorm")
_LOW, _HIGH = 0.8, 1.25
_ON_THE_WAY = ("linear", "affine", "reshape", "move", "mean", "one-sided", "other")
_DRAWS = 4
"""Passes with dropout, of which the variances are averaged."""

_DROPOUTS = frozenset(
    getattr(F, name)
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
) | {torch.dropout}


def _check(facts: Facts) -> Iterator[Found]:
    found = flow(facts)
    if found is None:
        return
    pairs = [(drop, norm) for norm in norms_of(facts, *_ACROSS) for drop in _drops_before(found, norm)]
    direct = [pair for pair in pairs if _unmixed(found, *pair)]
    # Behind a linear layer the shift is real, but many networks that are built so train well.
    seen = direct or (pairs if _worse_in_evaluation(facts) else [])
    if not seen:
        return
    ratios = _ratios(facts, sorted({norm.name for _, norm in seen}))
    hits = [(drop, norm, ratios[norm.name]) for drop, norm in seen if norm.name in ratios]
    hits = [hit for hit in hits if not _LOW <= hit[2] <= _HIGH]
    if hits:
        yield _found(hits, direct=bool(direct))


def _found(hits: Sequence[tuple[Step, Step, float]], *, direct: bool) -> Found:
    _, norm, ratio = hits[0]
    modules = list(dict.fromkeys(each.name for each, _, _ in hits if each.module is not None))
    return Found(
        modules[0] if modules else norm.name,
        f"dropout makes the variance in front of `{norm.name}` {ratio:.2g} times as large in training as in evaluation",
        0.85 if direct else 0.7,
        (Evidence("variance with dropout / without", ratio, f"{_LOW} to {_HIGH}"),),
        remedy="put dropout behind the last batch normalization, or take it away",
        code_lines=tuple(f"model.get_submodule({name!r}).p = 0.0" for name in modules),
        applicability="changes training" if modules else "advice",
        also=tuple(modules[1:]),
    )


def _drops_before(found: Flow, norm: Step) -> Iterator[Step]:
    """Dropouts with nothing but layers and activations of one source between them and a norm."""
    _, source = found.before(norm, _ON_THE_WAY)
    while source is not None and source.kind == "dropout":
        yield source
        _, source = found.before(source, _ON_THE_WAY)


def _unmixed(found: Flow, drop: Step, norm: Step) -> bool:
    """Whether no layer sums over dropped units before the norm."""
    between, _ = found.before(norm, ("dropout", *_ON_THE_WAY))
    return all(step.kind != "linear" for step in between if step.index > drop.index)


def _worse_in_evaluation(facts: Facts) -> bool:
    """Whether a training ends with a larger loss in evaluation than with dropout, which makes it smaller else."""
    if facts.run is None:
        return False
    last = facts.run.evaluated[-3:]
    return len(last) == 3 and all(each.train_loss > 1.1 * each.batch_loss for each in last)


def _ratios(facts: Facts, names: Sequence[str]) -> dict[str, float]:
    """Of each norm the median over channels of its input's variance with dropout, over that without."""
    with_dropout = [_variances(facts, names, seed) for seed in range(_DRAWS)]
    with _NoDropout():
        without = _variances(facts, names, 0)
    return {
        name: float((torch.stack([draw[name] for draw in with_dropout]).mean(dim=0) / plain).median())
        for name, plain in without.items()
        if bool((plain > 0).all())
    }


def _variances(facts: Facts, names: Sequence[str], seed: int) -> dict[str, Tensor]:
    """Of each channel of the inputs of norms."""
    got = norm_inputs(facts.subject.model, facts.subject.inputs, names, seed=seed)
    return {name: values.transpose(0, 1).flatten(1).var(dim=1) for name, values in got.items()}


class _NoDropout(TorchFunctionMode):
    """Every dropout gives what it gets."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DROPOUTS:
            return args[0] if args else kwargs["input"]
        return func(*args, **kwargs)


def _fix(setup: Setup, finding: Finding) -> Setup:
    return change_dropout(setup, 0.0, finding.layer, *finding.also)


RULE = Rule(
    code="NW103",
    name="dropout-before-batch-norm",
    summary="Dropout in front of a batch norm, whose running variance is wrong in evaluation then.",
    why=(
        "With keep probability p, dropout makes a variance v of values with mean m into (v + m²)/p − m². Running "
        "statistics keep that one; in evaluation nothing is dropped, the variance is v, and the norm divides by the "
        "wrong number, at each such place again."
    ),
    bad="nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.BatchNorm1d(64))",
    good="nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), head)",
    check=_check,
    needs=frozenset({"graph"}),
    explains=frozenset({"NW303"}),
    fix=_fix,
    source="Li et al. 2019, Understanding the disharmony between dropout and batch normalization",
)
