"""Training in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.remedies import train_mode
from normwise.diagnose.rule import Found, Rule
from normwise.results.diagnosis import Evidence


def _check(facts: Facts) -> Iterator[Found]:
    setup = facts.subject.setup
    if setup is None or not setup.evaluates:
        return
    norms = [state.name for state in facts.norms if state.module._buffers.get("running_mean") is not None]
    dropouts = [
        name
        for name, module in facts.subject.model.named_modules()
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p
    ]
    if norms or dropouts:
        yield Found(
            "",
            f"the model is in evaluation while it trains: {_lost(len(norms), len(dropouts))}",
            1.0,
            (
                Evidence(
                    "layers that the mode changes", float(len(norms) + len(dropouts)), "in training mode"
                ),
            ),
            remedy="call model.train() before each epoch, and model.eval() around validation only",
            code_lines=("model.train()",),
            applicability="changes training",
        )


def _lost(norms: int, dropouts: int) -> str:
    parts = [f"statistics of {norms} norms stand still"] * bool(norms)
    return " and ".join(parts + [f"{dropouts} dropouts do nothing"] * bool(dropouts))


RULE = Rule(
    code="NW302",
    name="eval-during-training",
    summary="The model trains in evaluation mode.",
    why=(
        "Batch norms take running statistics then, which nobody updates: nothing is normalized by what is there. "
        "Dropout does nothing. It mostly comes from a validation that ends without model.train()."
    ),
    bad="model.eval(); validate(model)  # and on with training",
    good="model.eval(); validate(model); model.train()",
    check=_check,
    needs=frozenset({"optimizer"}),
    explains=frozenset({"NW301", "NW303", "NW502", "NW506", "NW508", "NW509", "NW510", "NW512"}),
    fix=lambda setup, finding: train_mode(setup),
    source="torch.nn.Module.train, torch.nn.Module.eval",
)
