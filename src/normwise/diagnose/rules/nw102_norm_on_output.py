"""A norm between the last layer and the loss."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.remedies import leave_out
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import Flow, Step, flow, norms_of
from normwise.diagnose.subject import Setup
from normwise.monitor.signals import WEIGHTED
from normwise.results.diagnosis import Finding

_ACROSS = ("batch", "sync", "ghost", "batch_renorm", "instance")
_WITHIN = ("layer", "rms", "group")
_ON_THE_WAY = ("reshape", "move", "softmax")


def _check(facts: Facts) -> Iterator[Found]:
    found = flow(facts)
    if found is None:
        return
    real = facts.start is not None and not facts.subject.made_up
    # An encoder may end with a norm of each sample: only what a loss of real targets says is against it.
    for norm in norms_of(facts, *(_ACROSS + _WITHIN if real else _ACROSS)):
        if found.reach_output(norm, _ON_THE_WAY) and _behind_layer(found, norm):
            yield Found(
                norm.name,
                f"the outputs of the model are those of `{norm.name}`, which fixes their mean and spread",
                0.9 if real else 0.5,
                remedy="leave the norm away: the last layer's outputs are the model's",
                code_lines=(f"model.set_submodule({norm.name!r}, nn.Identity())",),
                applicability="changes training",
            )


def _behind_layer(found: Flow, norm: Step) -> bool:
    _, source = found.before(norm, ("reshape", "move", "affine", "mean"))
    return source is not None and source.kind == "linear"


def _fix(setup: Setup, finding: Finding) -> Setup:
    """Without the norm, and with a bias of zeros where its shift stood for one."""
    layer = _layer_before(setup.model, finding.layer)
    if layer is not None and layer._parameters.get("bias", layer) is None:
        width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        zeros = torch.zeros(width, dtype=layer.weight.dtype, device=layer.weight.device)
        layer.bias = nn.Parameter(zeros)
    return leave_out(setup, finding.layer)


def _layer_before(model: nn.Module, norm: str) -> nn.Linear | nn.modules.conv._ConvNd | None:
    last = None
    for name, module in model.named_modules():
        if name == norm:
            return last
        if isinstance(module, WEIGHTED):
            last = module
    return None


RULE = Rule(
    code="NW102",
    name="norm-on-output",
    summary="The model's outputs come out of a norm.",
    why=(
        "Predictions get the mean and the spread that the norm's weights say, whatever the last layer learns: scores "
        "cannot grow with certainty, a regression cannot leave its range, and in Batch Normalization the answer for "
        "one sample depends on the others of its batch."
    ),
    bad="nn.Sequential(nn.Linear(64, 10), nn.BatchNorm1d(10))",
    good="nn.Linear(64, 10)",
    check=_check,
    needs=frozenset({"graph"}),
    fix=_fix,
    source="Ioffe & Szegedy 2015, section 3.2, who normalize before a nonlinearity; Radford et al. 2016, DCGAN",
)
