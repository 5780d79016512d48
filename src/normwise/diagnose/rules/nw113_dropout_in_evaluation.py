"""Dropout that evaluation does not switch off."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule

_OPS = ("native_dropout", "bernoulli", "bernoulli_", "_fused_dropout")


def _check(facts: Facts) -> Iterator[Found]:
    graph = facts.graph
    if graph is None or graph.training:
        return
    places = []
    for op in graph.ops:
        if op.name.split(".")[1] in _OPS:
            inside = [call.module for call in graph.calls if call.holds(op)]
            places.append(inside[-1] if inside else "")
    if not places:
        return
    place, *others = dict.fromkeys(places)
    yield Found(
        place,
        f"`{place or 'the model'}` drops units in evaluation, too: the same input has another answer each time",
        0.9,
        remedy="F.dropout(x, p, training=self.training), or nn.Dropout as a module",
        code_lines=("x = F.dropout(x, p=0.5, training=self.training)",),
        also=tuple(others),
    )


RULE = Rule(
    code="NW113",
    name="dropout-in-evaluation",
    summary="Dropout that evaluation does not switch off.",
    why=(
        "`F.dropout` drops unless it is told not to: `training` is True by default, whatever mode the model is in. "
        "Answers are noisy, and worse than those of the whole network."
    ),
    bad="x = F.dropout(x, p=0.5)",
    good="x = F.dropout(x, p=0.5, training=self.training)",
    check=_check,
    needs=frozenset({"graph"}),
    explains=frozenset({"NW303", "NW509"}),
    source="torch.nn.functional.dropout",
)
