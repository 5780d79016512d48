"""As many groups as channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from normwise.diagnose.facts import Facts, NormState
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_CHANNELS_A_GROUP = 16


def _check(facts: Facts) -> Iterator[Found]:
    groups = [state for state in facts.norms if state.kind == "group"]
    chosen = [state for state in groups if _single(state)]
    # A model that has other norms, and groups of one channel alone, means it: wav2vec 2.0 begins with one.
    if not chosen or len(chosen) == len(groups) < len(facts.norms):
        return
    first: Any = chosen[0].module
    yield Found(
        chosen[0].name,
        f"`{chosen[0].name}` has {first.num_groups} groups of one channel: it is an Instance Normalization",
        0.6,
        (Evidence("channels of a group", 1.0, "2 or more"),),
        remedy=f"use groups of several channels: {_groups(first.num_channels)} of {first.num_channels}",
        code_lines=tuple(_line(state) for state in chosen),
        applicability="changes training",
        also=tuple(state.name for state in chosen[1:]),
    )


def _single(state: NormState) -> bool:
    """Whether each group is one channel, of which a sample has several values."""
    module: Any = state.module
    return bool(1 < module.num_groups == module.num_channels) and state.values != 1


def _groups(channels: int) -> int:
    """So many that a group has about 16 channels, and two at least."""
    return math.gcd(channels, max(1, channels // _CHANNELS_A_GROUP)) if channels > 1 else 1


def _line(state: NormState) -> str:
    module: Any = state.module
    channels = module.num_channels
    return f"model.set_submodule({state.name!r}, nn.GroupNorm({_groups(channels)}, {channels}))"


def _fix(setup: Setup, finding: Finding) -> Setup:
    for name in (finding.layer, *finding.also):
        norm: Any = setup.model.get_submodule(name)
        norm.num_groups = _groups(norm.num_channels)
    return setup


RULE = Rule(
    code="NW105",
    name="groups-of-one-channel",
    summary="A group normalization with as many groups as channels.",
    why=(
        "With one channel a group each channel of each sample is normalized by itself: how strong a feature is in an "
        "image is lost, and what remains is where it is. GroupNorm(num_groups, num_channels) takes the groups first."
    ),
    bad="nn.GroupNorm(64, 64)",
    good="nn.GroupNorm(4, 64)",
    check=_check,
    fix=_fix,
    source="Wu & He 2018, Group Normalization, table 3 (16 channels a group best, one worst)",
)
