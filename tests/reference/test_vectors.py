"""The reference against other people's numbers, and against figures worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise import reference
from normwise.geometry import Geometry

# Input, scale and bias of the examples of both operators in the ONNX operator documents.
ONNX_X = torch.tensor([[[[-1.0, 0, 1]], [[2, 3, 4]]]], dtype=torch.float64)
ONNX_SCALE = torch.tensor([1.0, 1.5], dtype=torch.float64)
ONNX_BIAS = torch.tensor([0.0, 1.0], dtype=torch.float64)


def close(actual: Tensor, expected: list[float], digits: float) -> bool:
    return (actual.flatten() - torch.tensor(expected, dtype=torch.float64)).abs().max().item() < digits


def test_onnx_batch_normalization_example() -> None:
    mean, var = torch.tensor([0.0, 3.0]).double(), torch.tensor([1.0, 1.5]).double()
    geometry = Geometry.batch(ONNX_X.shape)
    actual = reference.across_samples(
        ONNX_X, geometry, mean, var, ONNX_SCALE, ONNX_BIAS, training=False, eps=1e-5
    ).output
    # 1 / sqrt(1.00001) and 1.5 / sqrt(1.50001)
    assert close(actual, [-0.9999950000, 0, 0.9999950000, 1 - 1.2247407889, 1, 1 + 1.2247407889], 1e-9)


def test_onnx_instance_normalization_example() -> None:
    actual = reference.within_sample(ONNX_X, Geometry.instance(ONNX_X.shape), ONNX_SCALE, ONNX_BIAS, eps=0.0)
    # sqrt(3/2) = 1.224744871391589, and 1 ± 1.5 · sqrt(3/2)
    sides = 1.224744871391589, 1.8371173070873836
    assert close(actual, [-sides[0], 0, sides[0], 1 - sides[1], 1, 1 + sides[1]], 1e-12)


def test_keras_layer_normalization_example() -> None:
    # Keras's documentation: rows (0, 10), (20, 30), … with epsilon 0.001 give ∓ 5 / sqrt(25.001).
    x = (torch.arange(10, dtype=torch.float64) * 10).reshape(5, 2)
    actual = reference.within_sample(x, Geometry.layer(x.shape, (2,)), eps=1e-3)
    assert close(actual, [-0.9999800006, 0.9999800006] * 5, 1e-9)


def test_batch_statistics_by_hand() -> None:
    # Channel 0: 1, 2, 3, 6 with mean 3, squares of deviations 4 + 1 + 0 + 9 = 14; channel 1 is constant.
    x = torch.tensor([[[1.0, 2], [7, 7]], [[3, 6], [7, 7]]], dtype=torch.float64)
    old_mean, old_var = torch.tensor([13.0, 17]).double(), torch.tensor([1.0, 4]).double()
    output, mean, var = reference.across_samples(
        x, Geometry.batch(x.shape), old_mean, old_var, momentum=0.25, eps=0.5
    )
    assert mean is not None
    assert var is not None
    assert close(output[:, 0], [-2 / 2, -1 / 2, 0, 3 / 2], 1e-14)  # sqrt(14/4 + 0.5) = 2
    assert close(output[:, 1], [0.0] * 4, 1e-14)
    assert close(mean, [0.75 * 13 + 0.25 * 3, 0.75 * 17 + 0.25 * 7], 1e-14)
    assert close(var, [0.75 * 1 + 0.25 * 14 / 3, 0.75 * 4], 1e-14)  # the unbiased variance is 14/3
    assert old_mean.tolist() == [13.0, 17.0]


def test_group_by_hand() -> None:
    # Groups (0, 2) and (10, 10): mean 1 and 10, variance 1 and 0.
    x = torch.tensor([[0.0, 2, 10, 10]], dtype=torch.float64)
    assert close(
        reference.within_sample(x, Geometry.group(x.shape, 2), eps=0.0 + 1e-30), [-1, 1, 0, 0], 1e-14
    )


def test_root_mean_square_by_hand() -> None:
    # Mean square of (1, 7) is 25; the mean, 4, stays.
    x = torch.tensor([[1.0, 7]], dtype=torch.float64)
    weight = torch.tensor([10.0, 1], dtype=torch.float64)
    assert close(reference.within_sample(x, Geometry.rms(x.shape, (2,)), weight, eps=0.0), [2.0, 1.4], 1e-14)


def test_channels_of_one_position_by_hand() -> None:
    # Position 0 holds (0, 2), position 1 holds (5, 9).
    x = torch.tensor([[[0.0, 5], [2, 9]]], dtype=torch.float64)
    actual = reference.within_sample(x, Geometry.layer_over_channels(x.shape), eps=0.0)
    assert close(actual, [-1, -1, 1, 1], 1e-14)


def test_weight_norm_by_hand() -> None:
    v = torch.tensor([[[3.0], [4.0]], [[0.0], [0.0]]], dtype=torch.float64)
    gain = torch.tensor([[[2.0]], [[5.0]]], dtype=torch.float64)
    assert close(reference.weight_norm(gain, v, (1, 2)), [1.2, 1.6, 0, 0], 1e-14)
