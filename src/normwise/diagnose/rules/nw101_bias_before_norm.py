"""A bias that a norm takes away again."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import Step, flow, norms_of
from normwise.diagnose.subject import Setup
from normwise.monitor.signals import WEIGHTED
from normwise.results.diagnosis import Finding

_CENTRING = ("batch", "sync", "ghost", "batch_renorm", "instance")
_BETWEEN = ("reshape", "move")
_OUT = ("reshape", "move", "softmax")


def _check(facts: Facts) -> Iterator[Found]:
    found = flow(facts)
    if found is None:
        return
    norms = {norm.index: norm.name for norm in norms_of(facts, *_CENTRING)}
    hits: list[tuple[str, str]] = []
    for step in found.steps:
        _, reader = found.after(step, _BETWEEN) if _biased(step) else ((), None)
        calls = sum(step.name == other.name for other in found.steps)
        # A norm of the model's outputs is to go itself, and then the bias is needed.
        if (
            reader is not None
            and reader.index in norms
            and calls == 1
            and not found.reach_output(reader, _OUT)
        ):
            hits.append((step.name, norms[reader.index]))
    if not hits:
        return
    first, norm_name = hits[0]
    yield Found(
        first,
        f"the bias of `{first}` is subtracted again by `{norm_name}`, which takes each channel's mean away",
        0.6,
        remedy="leave the bias away: bias=False",
        code_lines=tuple(
            f"model.get_submodule({name!r}).register_parameter('bias', None)" for name, _ in hits
        ),
        applicability="safe",
        also=tuple(name for name, _ in hits[1:]),
    )


def _biased(step: Step) -> bool:
    module = step.module
    return isinstance(module, WEIGHTED) and module._parameters.get("bias") is not None


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
