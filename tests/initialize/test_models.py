"""Networks that differ by their normalization start from the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from normwise.initialize import initialize_
from normwise.models import NORMS, cnn, mlp
from normwise.models.norm import Norm
from normwise.norms import KINDS

CHANGING = ("spectral", "standardized", "centred", "orthogonal")
"""What lies in weights and allows not every weight."""


def weights(model: nn.Module) -> list[Tensor]:
    return [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


@pytest.mark.parametrize("norm", [n for n in NORMS if KINDS[n].fits_images and n not in CHANGING])
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
            norm_head=KINDS[norm].fits_features,
        )
        for kind in ("none", norm)
    )
    for model in (plain, other):
        initialize_(model, "he", seed=11, scale=2.0)
    for a, b in zip(weights(plain), weights(other), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("norm", [n for n in NORMS if KINDS[n].fits_features and n not in CHANGING])
def test_mlp_under_every_scheme(norm: str) -> None:
    for scheme in ("xavier", "orthogonal", "gaussian"):
        plain, other = mlp(6, 3, widths=(8, 8)), mlp(6, 3, widths=(8, 8), norm=norm)
        for model in (plain, other):
            initialize_(model, scheme, seed=2)
        for a, b in zip(weights(plain), weights(other), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def nearest(norm: str, weight: Tensor) -> Tensor:
    """The weight that a parametrization allows in the place of the drawn one."""
    matrix = weight.double().flatten(1)
    match norm:
        case "spectral":
            found = matrix / torch.linalg.matrix_norm(matrix, 2)
        case "orthogonal":
            tall = matrix if len(matrix) > matrix.shape[1] else matrix.T
            q, r = torch.linalg.qr(tall)
            q = q * r.diagonal().sign()
            found = q if len(matrix) > matrix.shape[1] else q.T
        case _:
            found = matrix - matrix.mean(dim=1, keepdim=True)
    return found.reshape(weight.shape).float()


def assert_nearest(norm: str, found: Tensor, drawn: Tensor) -> None:
    if norm == "spectral":
        # A few power iterations estimate the largest singular value: never above it, by chance somewhat below.
        largest = torch.linalg.matrix_norm(found.flatten(1), 2)
        assert 1 - 1e-5 <= largest < 1.5
        found = found / largest
    torch.testing.assert_close(found, nearest(norm, drawn), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", CHANGING)
@pytest.mark.parametrize("scheme", ["he", "xavier", "orthogonal", "gaussian"])
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_a_parametrized_weight_starts_as_near_to_the_drawn_one_as_it_can(
    norm: str, scheme: str, scale: float
) -> None:
    plain, other = (
        cnn((3, 8, 8), 10, channels=(8, 16), head=(12,), norm=kind, residual=True) for kind in ("none", norm)
    )
    for model in (plain, other):
        initialize_(model, scheme, seed=3, scale=scale)
    drawn, found = weights(plain), weights(other.eval())
    for a, b in zip(drawn[:-1], found[:-1], strict=True):
        assert_nearest(norm, b, a)
    torch.testing.assert_close(drawn[-1], found[-1])


@pytest.mark.parametrize("norm", CHANGING)
def test_a_builders_own_draw_is_kept_as_far_as_it_can_be(norm: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    drawn = layer.weight.detach().clone()
    wrapped = Norm.parse(norm, "mlp").wrap(layer).eval()
    assert_nearest(norm, wrapped.weight, drawn)


@pytest.mark.parametrize("norm", ["none", "batch", "weight", "layer", "standardized", "centred"])
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
