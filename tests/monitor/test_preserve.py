import pytest
import torch
from torch import nn

from normwise.monitor import preserved


def test_modes_buffers_and_the_random_state_come_back_even_after_an_error() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.BatchNorm1d(3))
    model[2].eval()  # frozen by its owner
    model(torch.randn(8, 3))
    before = {name: value.clone() for name, value in model.named_buffers()}
    state = torch.get_rng_state()

    def look() -> None:
        with preserved(model, training=True):
            assert all(module.training for module in model.modules())
            model(torch.randn(8, 3))
            assert not torch.equal(model[0].running_mean, before["0.running_mean"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look()
    assert [module.training for module in model] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert torch.equal(torch.get_rng_state(), state)
