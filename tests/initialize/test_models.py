"""Networks that differ by their normalization start from the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from normwise.initialize import initialize_
from normwise.models import NORMS, cnn, mlp


def weights(model: nn.Module) -> list[Tensor]:
    return [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("residual", [False, True])
def test_cnn(norm: str, position: str, residual: bool) -> None:
    plain, other = (
        cnn(
            (1, 8, 8),
            10,
            channels=(8, 16),
            head=(8,),
            norm=kind,
            position=position,
            residual=residual,
            norm_head=norm != "instance",
        )
        for kind in ("none", norm)
    )
    for model in (plain, other):
        initialize_(model, "he", seed=11, scale=2.0)
    for a, b in zip(weights(plain), weights(other), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("norm", [n for n in NORMS if n != "instance"])
def test_mlp_under_every_scheme(norm: str) -> None:
    for scheme in ("xavier", "orthogonal", "gaussian"):
        plain, other = mlp(6, 3, widths=(8, 8)), mlp(6, 3, widths=(8, 8), norm=norm)
        for model in (plain, other):
            initialize_(model, scheme, seed=2)
        for a, b in zip(weights(plain), weights(other), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("norm", ["none", "batch", "weight", "layer"])
def test_lsuv_scales_the_outputs_to_unit_variance(norm: str) -> None:
    batch = torch.randn(128, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model = cnn((1, 8, 8), 10, channels=(8, 16), norm=norm, dropout=0.3)
    initialize_(model, "lsuv", seed=0, batch=batch)
    seen: list[float] = []
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(lambda m, i, o: seen.append(o.var(correction=0).item()))
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    with torch.no_grad():
        model(batch)
    assert len(seen) == 3
    assert all(abs(variance - 1) < 0.1 for variance in seen)
