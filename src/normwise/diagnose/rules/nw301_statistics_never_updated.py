"""Running statistics that stand still."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from normwise.diagnose.facts import Facts, NormState
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError, explain
from normwise.results.diagnosis import Evidence, Finding

_USUAL = 0.1
_APART = 3.0
"""Standard deviations, or factors of two of the variance, by which frozen statistics miss the batch."""


def _check(facts: Facts) -> Iterator[Found]:
    kept = [state for state in facts.norms if state.module._buffers.get("running_mean") is not None]
    # Those of a pretrained model may well be kept, as long as they are those of the data.
    wrong = [state for state in kept if _fresh(state.module) or _misses(state)]
    still = [state for state in wrong if getattr(state.module, "momentum", None) == 0]
    if still:
        said = f"momentum of `{still[0].name}` is 0: its running statistics stay what they are"
        yield _found(still, said, 0.95, fixable=True)
        return
    frozen = [state for state in wrong if _frozen(state, facts)]
    if frozen:
        said = f"`{frozen[0].name}` stays in evaluation while the model trains, with statistics of something else"
        yield _found(frozen, said, 0.9, fixable=_can_train(frozen[0].module))
        return
    counted = [state for state in kept if state.tracked is not None and _trained(facts)]
    unseen = [state for state in counted if state.tracked == 0 and state.calls and _fresh(state.module)]
    if unseen:
        said = f"`{unseen[0].name}` has never seen a batch in training mode, and the model has been trained"
        yield _found(unseen, said, 0.9, fixable=False)


def _found(hits: list[NormState], said: str, confidence: float, *, fixable: bool) -> Found:
    line = "momentum = 0.1" if getattr(hits[0].module, "momentum", None) == 0 else "train()"
    return Found(
        hits[0].name,
        said,
        confidence,
        (Evidence("norms whose statistics stand still", float(len(hits)), "0"),),
        remedy="let the statistics follow the data: momentum 0.1, in training mode; or recalibrate them",
        code_lines=tuple(f"model.get_submodule({state.name!r}).{line}" for state in hits) if fixable else (),
        applicability="changes training" if fixable else "advice",
        also=tuple(state.name for state in hits[1:]),
    )


def _frozen(state: NormState, facts: Facts) -> bool:
    """Whether a norm uses its running statistics in training, and leaves them, while its scale trains."""
    norm = state.module
    if not facts.subject.model.training or not any(p.requires_grad for p in norm.parameters()):
        return False
    return not norm.training or state.evaluates or not _can_train(norm)


def _misses(state: NormState) -> bool:
    """Whether statistics are far from the batch's."""
    return (state.shift or 0.0) > _APART or (state.spread or 0.0) > _APART


def _fresh(norm: nn.Module) -> bool:
    """Whether statistics are those of a new layer, mean 0 and variance 1."""
    mean, variance = norm._buffers.get("running_mean"), norm._buffers.get("running_var")
    if not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        return False
    return bool((mean == 0).all()) and bool((variance == 1).all())


def _trained(facts: Facts) -> bool:
    """Whether the optimizer has steps behind it."""
    optimizer = facts.subject.optimizer
    kept = () if optimizer is None else optimizer.state.values()
    # Adagrad keeps a state from the start, with a count of zero.
    return any(float(each.get("step", each.get("momentum_buffer") is not None)) > 0 for each in kept)


def _can_train(norm: nn.Module) -> bool:
    """Whether `train` brings a norm back; a class of somebody's may refuse."""
    before = norm.training
    could = norm.train().training and not getattr(norm, "statistics_frozen", False)
    norm.training = before
    return could


def _fix(setup: Setup, finding: Finding) -> Setup:
    for name in (finding.layer, *finding.also):
        norm: Any = setup.model.get_submodule(name)
        if norm.momentum == 0:
            norm.momentum = _USUAL
            norm.reset_running_stats()
        if not norm.train().training:
            must = "a norm must go back to training mode"
            raise ArgumentError(explain("fix", must, f"a {type(norm).__name__} that does not"))
    return setup


RULE = Rule(
    code="NW301",
    name="statistics-never-updated",
    summary="Running statistics that do not follow the data while the model trains.",
    why=(
        "In evaluation a batch norm takes its running statistics. Where these are still those of the start, mean 0 and "
        "variance 1, or of other data, evaluation is another network than the one that was trained."
    ),
    bad="model.train(); model.bn.eval()  # of a model that was not trained before",
    good="model.train()",
    check=_check,
    explains=frozenset({"NW303", "NW302"}),
    fix=_fix,
    source="torch.nn.BatchNorm2d: momentum, track_running_stats; Wu & Johnson 2021, Rethinking Batch in BatchNorm",
)
