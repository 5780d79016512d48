"""Dropout of tokens, and of words of a vocabulary."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from normwise.errors import ArgumentError
from normwise.layers import EmbeddingDropout, WordDropout, monte_carlo
from normwise.testing import assert_close


def test_tokens_are_dropped_whole() -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 40, 3)
    output = WordDropout(0.3)(x)
    gone = (output == 0).all(dim=-1)
    assert torch.equal(gone, (output == 0).any(dim=-1))
    assert_close(output[~gone], x[~gone].double() / 0.7)
    # 2,000 tokens: a standard error of 0.0102.
    assert abs(gone.double().mean().item() - 0.3) < 0.041


def test_words_are_dropped_wherever_they_occur() -> None:
    torch.manual_seed(0)
    layer = EmbeddingDropout(2000, 3, p=0.3)
    words = torch.arange(2000).repeat(2, 1)
    first, second = layer(words)
    assert torch.equal(first, second)
    gone = (first == 0).all(dim=-1)
    assert_close(first[~gone], layer.weight[~gone].double() / 0.7)
    assert abs(gone.double().mean().item() - 0.3) < 0.041  # as above
    assert not torch.equal(layer(words[0]), first)
    assert torch.equal(layer.eval()(words), layer.weight[words])


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_reach_the_kept_words_alone(sparse: bool) -> None:
    torch.manual_seed(0)
    layer = EmbeddingDropout(20, 3, sparse=sparse, p=0.5)
    output = layer(torch.arange(20))
    cotangent = torch.randn(20, 3)
    output.backward(cotangent)
    gradient = layer.weight.grad
    assert gradient is not None
    assert gradient.is_sparse == sparse
    kept = (output != 0).any(dim=-1, keepdim=True)
    assert 0 < kept.sum() < 20
    assert_close(gradient.to_dense(), 2 * cotangent * kept)


def test_the_embedding_is_torchs() -> None:
    torch.manual_seed(0)
    plain = nn.Embedding(10, 4, padding_idx=2, max_norm=1.0)
    layer = EmbeddingDropout.of(plain.eval(), p=0.4)
    assert layer.weight is plain.weight
    assert not layer.training
    words = torch.tensor([[1, 2, 3], [3, 9, 0]])
    assert torch.equal(layer(words), plain(words))
    assert list(layer.state_dict()) == ["weight"]
    assert isinstance(layer, nn.Embedding)
    assert repr(layer) == "EmbeddingDropout(10, 4, padding_idx=2, max_norm=1.0, p=0.4)"
    assert (layer.train()(words)[0, 1] == 0).all()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other.eval()(words), plain(words))
    table = torch.randn(4, 2)
    assert torch.equal(EmbeddingDropout.from_pretrained(table).eval()(torch.tensor([3])), table[3:])


def test_programs() -> None:
    layer, words = EmbeddingDropout(10, 4, p=0.5), torch.tensor([[1, 2, 3], [3, 9, 0]])
    traced = torch.fx.symbolic_trace(nn.Sequential(layer))
    assert torch.equal(traced.eval()(words), layer.weight[words])
    layer.train()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    results = []
    for run in (layer, compiled):
        torch.manual_seed(0)
        results.append(run(words))
    assert torch.equal(*results)


def test_the_ends_of_the_range() -> None:
    x, words = torch.randn(4, 7, 5), torch.tensor([1, 2])
    assert WordDropout(0.0)(x) is x
    assert WordDropout(0.5).eval()(x) is x
    assert WordDropout(1.0)(x).abs().max() == 0
    layer = EmbeddingDropout(5, 3, p=0.0)
    assert torch.equal(layer(words), layer.weight[words])
    assert EmbeddingDropout(5, 3, p=1.0)(words).abs().max() == 0


def test_monte_carlo_draws() -> None:
    layer, words = EmbeddingDropout(100, 3, p=0.5).eval(), torch.arange(100)
    with monte_carlo(layer):
        assert (layer(words) == 0).any()
    assert not (layer(words) == 0).any()


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match=r"must be \(\*, L, C\). Got shape \(3,\)"):
        WordDropout(0.5)(torch.ones(3))
    with pytest.raises(ArgumentError, match=r"WordDropout: `p`"):
        WordDropout(1.5)
    with pytest.raises(ArgumentError, match=r"EmbeddingDropout: `p`"):
        EmbeddingDropout(5, 3, p=1.5)
