"""A bias that a norm takes away again."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.layers.normalized import NORMALIZED
from normwise.results.diagnosis import Finding

_CENTRING = ("batch", "sync", "ghost", "batch_renorm", "instance")


def _check(facts: Facts) -> Iterator[Found]:
    graph = facts.graph
    if graph is None:
        return
    modules = dict(facts.subject.model.named_modules())
    norms = {state.name for state in facts.norms if state.kind in _CENTRING}
    hits: list[tuple[str, str]] = []
    for norm in (call for call in graph.calls if call.module in norms):
        for call in graph.calls:
            layer: nn.Module = modules[call.module]
            held = layer._parameters.get("bias") is not None
            weighted = held and isinstance(layer, tuple(NORMALIZED))
            if weighted and len(graph.calls_of(call.module)) == 1 and graph.feeds(call, norm):
                hits.append((call.module, norm.module))
    if not hits:
        return
    first, norm_name = hits[0]
    yield Found(
        first,
        f"the bias of `{first}` is subtracted again by `{norm_name}`, which takes each channel's mean away",
        1.0,
        remedy="leave the bias away: bias=False",
        code_lines=tuple(f"model.{name}.register_parameter('bias', None)" for name, _ in hits),
        applicability="safe",
        also=tuple(name for name, _ in hits[1:]),
    )


def _fix(setup: Setup, finding: Finding) -> Setup:
    for name in (finding.layer, *finding.also):
        setup.model.get_submodule(name).register_parameter("bias", None)
    return setup


RULE = Rule(
    code="NW101",
    name="bias-before-norm",
    summary="A layer with a bias feeds a norm that subtracts each channel's mean.",
    why=(
        "The norm subtracts the mean of each channel, and with it the bias, which gets no gradient, costs memory and "
        "time, and is moved by weight decay for nothing. The norm's own bias takes its place."
    ),
    bad="nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64))",
    good="nn.Sequential(nn.Conv2d(3, 64, 3, bias=False), nn.BatchNorm2d(64))",
    check=_check,
    needs=frozenset({"graph"}),
    fix=_fix,
    source="Ioffe & Szegedy 2015, section 3.2; NeuraLint (Nikanjam et al. 2021)",
)
