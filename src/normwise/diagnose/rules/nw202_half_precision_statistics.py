"""Running statistics in 16 bits."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_HALF = (torch.float16, torch.bfloat16)


def _check(facts: Facts) -> Iterator[Found]:
    hits = [state.name for state in facts.norms if _halves(state.module)]
    # A model that is only run, in evaluation, may well be in 16 bits.
    if not hits or not facts.subject.model.training:
        return
    dtype = str(_halves(facts.subject.model.get_submodule(hits[0]))).removeprefix("torch.")
    resolution = 2.0**-8 if dtype == "bfloat16" else 2.0**-11
    yield Found(
        hits[0],
        f"the running statistics of `{hits[0]}` are {dtype}: an update below {100 * resolution:.2g} % is rounded away",
        0.9,
        (Evidence("relative rounding", 100 * resolution, "below 1e-5", "%"),),
        remedy="keep the model in float32, and use torch.autocast for speed",
        code_lines=("model.float()", f"with torch.autocast(x.device.type, dtype=torch.{dtype}): ..."),
        applicability="changes training",
        also=tuple(hits[1:]),
    )


def _halves(norm: nn.Module) -> torch.dtype | None:
    """The dtype of running statistics in 16 bits."""
    for name in ("running_mean", "running_var"):
        buffer = norm._buffers.get(name)
        if isinstance(buffer, Tensor) and buffer.dtype in _HALF:
            return buffer.dtype
    return None


def _fix(setup: Setup, finding: Finding) -> Setup:
    """The whole model in float32, with what it casts its values to."""
    setup.model.float()
    for module in setup.model.modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.dtype) and value in _HALF:
                setattr(module, name, torch.float32)
    return setup


RULE = Rule(
    code="NW202",
    name="half-precision-statistics",
    summary="Running mean and variance of a norm in float16 or bfloat16.",
    why=(
        "Each step moves a running statistic by momentum times a difference. In 16 bits a difference below a few "
        "thousandths is rounded away, so that statistics stop short of the truth; and a variance above 65504 is "
        "infinite in float16."
    ),
    bad="model.half()  # or model.to(torch.bfloat16), and then training",
    good="with torch.autocast('cuda', dtype=torch.bfloat16): loss = criterion(model(x), y)",
    check=_check,
    explains=frozenset({"NW203", "NW303"}),
    fix=_fix,
    source="Micikevicius et al. 2018, Mixed precision training, section 3; torch.autocast",
)
