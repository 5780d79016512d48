"""A norm of what is normalized already."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.remedies import leave_out
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import Flow, Step, flow, norms_of
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Finding

_BETWEEN = ("reshape", "move", "affine", "dropout")
_WITHIN = ("layer", "rms")


def _check(facts: Facts) -> Iterator[Found]:
    found = flow(facts)
    if found is None:
        return
    kinds = {state.name: state.kind for state in facts.norms}
    norms = {norm.index: norm for norm in norms_of(facts)}
    hits: list[tuple[Step, Step]] = []
    for norm in norms.values():
        _, reader = found.after(norm, _BETWEEN)
        if reader is not None and reader.index in norms and not _closes_stack(found, norm, reader, kinds):
            hits.append((norm, reader))
    if hits:
        first, second = hits[0]
        again = list(dict.fromkeys(reader.name for _, reader in hits))
        yield Found(
            again[0],
            f"`{second.name}` normalizes what `{first.name}` has normalized, with nothing but that in between",
            0.6,
            remedy="leave one of the two norms away",
            code_lines=tuple(f"model.set_submodule({name!r}, nn.Identity())" for name in again),
            applicability="changes training",
            also=tuple(again[1:]),
        )


def _closes_stack(found: Flow, norm: Step, reader: Step, kinds: dict[str, str]) -> bool:
    """Whether a block ends in this norm of a sum, and another one stands outside of it, as in torch's `Transformer`."""
    _, source = found.before(norm, _BETWEEN)
    inside, outside = norm.name.rpartition(".")[0], reader.name.rpartition(".")[0]
    apart = inside != outside and kinds[norm.name] in _WITHIN
    return apart and source is not None and source.kind == "add"


def _fix(setup: Setup, finding: Finding) -> Setup:
    return leave_out(setup, finding.layer, *finding.also)


RULE = Rule(
    code="NW107",
    name="duplicate-norm",
    summary="A norm whose only input is the output of another norm.",
    why=(
        "What the first norm's weights scale, the second takes away again: of the two only one does something, the "
        "other costs time and memory, and its weights drift without a gradient. Mostly one of the two was meant to "
        "stand elsewhere."
    ),
    bad="nn.Sequential(conv, nn.BatchNorm2d(64), nn.BatchNorm2d(64), nn.ReLU())",
    good="nn.Sequential(conv, nn.BatchNorm2d(64), nn.ReLU())",
    check=_check,
    needs=frozenset({"graph"}),
    fix=_fix,
    source="NeuraLint (Nikanjam et al. 2021), redundant layers",
)
