"""What runs, asked of a layer, a model and a function: the answer, its print, and that nothing is left behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise import functional
from normwise.errors import BackendError
from normwise.kernels.cpu import library
from normwise.kernels.registry import recorded


def model() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nw.BatchNormAct1d(6, activation="relu"), nw.Dropout(0.5))
    return nn.Sequential(nn.Linear(4, 6), body, nn.Linear(6, 4), nw.LayerNorm(4))


def test_a_model_is_named_layer_by_layer() -> None:
    with nw.use_backend("portable"):
        choices = nw.explain_backend(model(), torch.randn(8, 4))
    found = [(choice.layer, choice.operation, choice.shape, choice.backend) for choice in choices]
    assert found == [
        ("1.0", "batch_norm", (8, 6), "portable"),
        ("1.1", "dropout", (8, 6), "portable"),
        ("3", "layer_norm", (8, 4), "portable"),
    ]
    assert {choice.isa for choice in choices} == {library.isa()}


def test_the_print_is_a_table() -> None:
    with nw.use_backend("aten"):
        text = str(nw.explain_backend(model(), torch.randn(8, 4)))
    assert text == (
        "layer  operation   input  back end\n"
        "1.0    batch_norm  8×6    aten [1]\n"
        "1.1    dropout     8×6    aten [1]\n"
        "3      layer_norm  8×4    aten [1]\n"
        "\n"
        "[1] not cpu: torch's operators were asked for"
    )


def test_a_layer_alone_needs_no_name() -> None:
    with nw.use_backend("cpu"):
        choices = nw.explain_backend(nw.RMSNorm(4), torch.randn(8, 4))
    assert str(choices).startswith("operation  input  back end\nrms_norm   8×4    ")
    assert choices[0].layer is None
    assert repr(choices) == str(choices)


def test_a_function_is_explained() -> None:
    x = torch.randn(4, 6, 3)
    assert nw.explain_backend(functional.group_norm, x, 2, backend="aten")[0].backend == "aten"
    (choice,) = nw.explain_backend(functional.group_norm, x, 2, backend="portable")
    assert choice.backend == "portable"
    assert "native" in choice.refused


def test_each_reason_is_said_once() -> None:
    meta = model().to("meta")
    text = str(nw.explain_backend(meta, torch.randn(8, 4, device="meta")))
    assert text.count("a tensor is on meta") == 1
    assert text.count("[1]") == 4


def test_nothing_to_explain_is_said() -> None:
    assert "none of normwise's operations" in str(nw.explain_backend(nn.Linear(4, 2), torch.ones(1, 4)))


def test_buffers_hooks_and_random_numbers_stay() -> None:
    network = model()
    buffers = dict(network.named_buffers())
    before = {name: (buffer.clone(), buffer._version) for name, buffer in buffers.items()}
    state = torch.get_rng_state()
    nw.explain_backend(network, torch.randn(8, 4, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), state)
    for name, buffer in network.named_buffers():
        assert buffer is buffers[name]
        assert torch.equal(buffer, before[name][0])
        assert buffer._version == before[name][1]
    assert not any(module._forward_hooks for module in network.modules())


def test_a_gradient_that_waits_is_not_disturbed() -> None:
    layer = nw.BatchNorm1d(4).eval()
    x = torch.randn(8, 4, requires_grad=True)
    with nw.use_backend("aten"):
        output = layer(x)
    nw.explain_backend(layer, torch.randn(8, 4))
    output.sum().backward()
    assert x.grad is not None


class Fails(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nw.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        self.norm(x)
        raise KeyError("a bug of the model")


def test_a_model_that_fails_is_left_as_it_was() -> None:
    network, state = Fails(), torch.get_rng_state()
    with pytest.raises(KeyError, match="a bug of the model"):
        nw.explain_backend(network, torch.randn(8, 4, generator=torch.Generator().manual_seed(1)))
    assert network.norm.num_batches_tracked == 0
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_name_that_cannot_run_is_refused() -> None:
    with nw.use_backend("portable"), pytest.raises(BackendError, match=r"batch_norm: .*'portable'.*meta"):
        nw.explain_backend(nw.BatchNorm1d(4), torch.ones(8, 4, device="meta"))


def test_an_explanation_within_a_record_stays_out_of_it() -> None:
    with recorded() as outer:
        nw.explain_backend(nw.LayerNorm(4), torch.ones(2, 4))
    assert outer == []


def test_shared_layers_are_called_twice_and_named_once() -> None:
    norm = nw.BatchNorm1d(4)
    choices = nw.explain_backend(nn.Sequential(norm, nn.ReLU(), norm), torch.randn(8, 4))
    assert [choice.layer for choice in choices] == ["0", "0"]
