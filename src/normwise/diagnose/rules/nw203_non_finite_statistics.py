"""Running statistics that are no numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normwise.diagnose.facts import Facts, NormState
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding


def _check(facts: Facts) -> Iterator[Found]:
    given = [(state, wrong) for state in facts.norms if (wrong := _wrong(state.module))]
    after = [] if facts.run is None else [(s, wrong) for s in facts.run.norms if (wrong := _wrong(s.module))]
    if given:
        yield _found(given, "", "reset the statistics, and train or recalibrate")
    elif after:
        yield _found(
            after, " after a short training", "find what is not finite first; then reset the statistics"
        )


def _found(hits: list[tuple[NormState, int]], when: str, remedy: str) -> Found:
    state, wrong = hits[0]
    return Found(
        state.name,
        f"{wrong} running statistics of `{state.name}` are not finite, or variances below zero{when}",
        1.0,
        (Evidence("running statistics that are no numbers", float(wrong), "0"),),
        remedy=remedy,
        code_lines=tuple(f"model.get_submodule({each.name!r}).reset_running_stats()" for each, _ in hits),
        applicability="advice" if when else "safe",
        also=tuple(each.name for each, _ in hits[1:]),
    )


def _wrong(norm: nn.Module) -> int:
    """Channels whose running mean or variance cannot be one."""
    mean, variance = norm._buffers.get("running_mean"), norm._buffers.get("running_var")
    count = int((~torch.isfinite(mean)).sum()) if isinstance(mean, Tensor) else 0
    if isinstance(variance, Tensor):
        count += int((~torch.isfinite(variance) | (variance < 0)).sum())
    return count


def _fix(setup: Setup, finding: Finding) -> Setup:
    for name in (finding.layer, *finding.also):
        norm = setup.model.get_submodule(name)
        norm.get_buffer("running_mean").zero_()
        norm.get_buffer("running_var").fill_(1.0)
        counter = norm._buffers.get("num_batches_tracked")
        if counter is not None:
            counter.zero_()
    return setup


RULE = Rule(
    code="NW203",
    name="non-finite-statistics",
    summary="NaN, infinity or a negative variance among the running statistics of a norm.",
    why=(
        "One batch with a NaN is enough: a running average never forgets it, so that training goes on with the batch's "
        "own statistics and looks healthy, while evaluation gives NaN for every sample."
    ),
    bad="bn.running_mean  # tensor([nan, 0.1, …])",
    good="bn.reset_running_stats()  # then a pass over clean data in training mode",
    check=_check,
    explains=frozenset({"NW303", "NW503", "NW506", "NW509", "NW510", "NW512"}),
    fix=_fix,
    source="(1 − m)·NaN + m·x = NaN for every momentum m below 1",
)
