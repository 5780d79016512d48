"""Batch normalization for each domain: a layer of its own for each, however the samples are mixed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from normwise import layers as nw
from normwise.errors import ArgumentError
from normwise.testing import assert_close

DOMAINS = torch.tensor([2, 0, 2, 2, 0, 2])  # the domain 1 is absent
STATE = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def batch(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 3, 4, generator=generator, dtype=torch.float64) * 2 + 1


def trained(**options: object) -> nw.DomainBatchNorm1d:
    layer = nw.DomainBatchNorm1d(3, 3, **options).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return layer


def alone(layer: nw.DomainBatchNorm1d, domain: int) -> nn.BatchNorm1d:
    """Torch's layer with the state of one domain."""
    single = nn.BatchNorm1d(3, momentum=layer.momentum).double().train(layer.training)
    single.load_state_dict({key: layer.state_dict()[key][domain].clone() for key in STATE})
    return single


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("dtype", [torch.long, torch.int32, torch.uint8])
def test_each_domain_is_torchs_layer(momentum: float | None, dtype: torch.dtype) -> None:
    layer = trained(momentum=momentum)
    singles = [alone(layer, domain) for domain in range(3)]
    before = copy.deepcopy(layer.state_dict())
    for step, domains in enumerate((DOMAINS, DOMAINS[torch.tensor([1, 0, 2, 4, 3, 5])])):
        layer.zero_grad()
        x, other = batch(step).requires_grad_(), batch(step).requires_grad_()
        g = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        y = layer(x, domains.to(dtype))
        y.backward(g)
        for domain in (0, 2):
            singles[domain].zero_grad()
            of_domain = domains == domain
            expected = singles[domain](other[of_domain])
            expected.backward(g[of_domain])
            assert_close(y[of_domain], expected, what=f"output of {domain}")
            for name in ("weight", "bias"):
                mine = getattr(layer, name).grad[domain]
                assert_close(mine, getattr(singles[domain], name).grad, what=f"gradient of {name}")
        assert_close(x.grad, other.grad, what="gradient of input")
        assert not layer.weight.grad[1].any()
    for key in STATE:
        for domain in (0, 2):
            assert_close(layer.state_dict()[key][domain], singles[domain].state_dict()[key], what=key)
        assert torch.equal(layer.state_dict()[key][1], before[key][1]), f"{key} of the absent domain"
    layer.eval()
    mixed = torch.tensor([0, 1, 2, 0, 1, 2])
    expected = torch.cat(
        [single.eval()(row) for single, row in zip(2 * singles, batch(8).split(1), strict=True)]
    )
    assert_close(layer(batch(8), mixed), expected, what="evaluation")


@pytest.mark.parametrize("training", [True, False])
def test_one_number_is_the_domain_of_all(training: bool) -> None:
    by_number, by_tensor = (trained().train(training) for _ in range(2))
    x, other = batch().requires_grad_(), batch().requires_grad_()
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    y, z = by_number(x, 1), by_tensor(other, torch.ones(6, dtype=torch.long))
    assert_close(y, z)
    y.backward(g)
    z.backward(g)
    assert_close(x.grad, other.grad)
    assert_close(by_number.weight.grad, by_tensor.weight.grad)
    for key, value in by_tensor.named_buffers():
        assert_close(by_number.get_buffer(key), value, what=key)


def test_a_domain_that_is_not_finite_harms_no_other() -> None:
    layer, clean, x = trained(), trained(), batch()
    clean(x, DOMAINS)
    x[1, 2, 0] = float("nan")  # of the domain 0
    x.requires_grad_()
    y = layer(x, DOMAINS)
    of_two = DOMAINS == 2
    assert_close(y[of_two], trained()(batch(), DOMAINS)[of_two])
    y[of_two].backward(batch(5)[of_two])
    assert x.grad[of_two].isfinite().all()
    assert x.grad[of_two].abs().min() > 0
    assert torch.equal(layer.running_mean[0], trained().running_mean[0])
    assert_close(layer.running_mean[2], clean.running_mean[2])
    assert layer.num_batches_tracked.tolist() == [0, 0, 1]
    assert layer.num_batches_skipped.tolist() == [1, 0, 0]


def test_a_single_value_takes_the_running_statistics() -> None:
    layer, x = trained(), batch()[..., 0].clone()
    before = copy.deepcopy(layer.state_dict())
    domains = torch.tensor([0, 0, 0, 1, 2, 2])
    expected = alone(layer, 1).eval()(x[3:4])
    assert_close(layer(x, domains)[3:4], expected)
    assert torch.equal(layer.running_var[1], before["running_var"][1])
    assert layer.num_batches_tracked.tolist() == [1, 0, 1]


def test_state_has_a_row_for_each_domain() -> None:
    layer = nw.DomainBatchNorm2d(3, 5)
    shapes = {key: tuple(value.shape) for key, value in layer.state_dict().items()}
    assert shapes == {**dict.fromkeys(STATE[:4], (5, 3)), "num_batches_tracked": (5,)}
    assert list(nw.DomainBatchNorm2d(3, 5, affine=False).state_dict()) == list(STATE[2:])


def test_refusals() -> None:
    layer = trained()
    with pytest.raises(ArgumentError, match=r"`domain` must lie in 0 … 2\. Got 3"):
        layer(batch(), 3)
    with pytest.raises(ArgumentError, match=r"`domain` must lie in 0 … 2\. Got -1"):
        layer(batch(), -1)
    with pytest.raises(ArgumentError, match=r"integers of shape \(6,\).* Got torch.int64 of shape \(5,\)"):
        layer(batch(), DOMAINS[:5])
    with pytest.raises(ArgumentError, match=r"Got torch.float64 of shape"):
        layer(batch(), DOMAINS.double())
    with pytest.raises(ArgumentError, match=r"Got torch.bool of shape"):
        layer(batch(), DOMAINS > 0)
    with pytest.raises(IndexError):
        layer(batch(), DOMAINS + 1)
    with pytest.raises(ArgumentError, match=r"`num_domains` must be at least 1"):
        nw.DomainBatchNorm1d(3, 0)
