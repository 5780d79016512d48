from __future__ import annotations

import pytest

from normwise.report.names import clipped, columns, display, full_name, metric_name, spelled, this_setting


@pytest.mark.parametrize(
    ("name", "label", "subject"),
    [
        ("none", "the plain network", "the plain network"),
        ("batch", "Batch Normalization", "Batch Normalization"),
        (
            "layer after",
            "Layer Normalization after the activation",
            "Layer Normalization after the activation",
        ),
        ("group:4", "Group Normalization (4 groups)", "Group Normalization (4 groups)"),
        ("group:1", "Group Normalization (1 group)", "Group Normalization (1 group)"),
        (
            "ghost:16 after",
            "Ghost Batch Normalization (16 samples a ghost) after the activation",
            "Ghost Batch Normalization (16 samples a ghost) after the activation",
        ),
        ("evonorm_s0:4", "EvoNorm-S0 (4 groups)", "EvoNorm-S0 (4 groups)"),
        ("orthogonal", "Orthogonal Weights", "Orthogonal Weights"),
        ("none + orthogonal", "orthogonal initialization", "orthogonal initialization"),
        ("none + scale", "augmentation (scale)", "augmentation (scale)"),
        ("none + L2 0.001", "L2 penalty 0.001", "an L2 penalty of 0.001"),
        ("none + L1 1e-05", "L1 penalty 1e-05", "an L1 penalty of 1e-05"),
        ("none + dropout 0.2", "dropout 0.2", "dropout 0.2"),
        ("none + decay 0.01", "weight decay 0.01", "weight decay 0.01"),
        (
            "batch + output",
            "Batch Normalization, also on the output",
            "Batch Normalization, also on the output",
        ),
        (
            "batch + dropout 0.2 + L2 0.1",
            "Batch Normalization with dropout 0.2 and L2 penalty 0.1",
            "Batch Normalization with dropout 0.2 and L2 penalty 0.1",
        ),
        ("none + shift, rotate:10", "augmentation (shift, rotate 10)", "augmentation (shift, rotate 10)"),
        ("none + noise:0.2, mixup", "augmentation (noise 0.2, mixup)", "augmentation (noise 0.2, mixup)"),
        ("xavier", "Xavier initialization", "Xavier initialization"),
        (
            "batch + he ×0.1",
            "Batch Normalization with He initialization ×0.1",
            "Batch Normalization with He initialization ×0.1",
        ),
        ("my own thing", "my own thing", "my own thing"),
    ],
)
def test_variants_are_spelled_out(name: str, label: str, subject: str) -> None:
    assert full_name(name) == label
    assert full_name(name, subject=True) == subject


def test_settings_are_called_by_their_known_names() -> None:
    assert display("mlp, depth 8") == "MLP, depth 8"
    assert display("my net") == "my net"
    assert this_setting("cnn") == "this CNN"
    assert this_setting("mlp, depth 8, batch 16") == "this MLP (depth 8, batch 16)"
    assert this_setting("net.py:build") == "net.py:build"


def test_metrics_and_small_numbers_are_written_as_people_do() -> None:
    assert [metric_name(name) for name in ("auc", "macro_f1", "accuracy")] == ["AUC", "macro F1", "accuracy"]
    assert [spelled(n, "seed") for n in (1, 5, 13)] == ["one seed", "five seeds", "13 seeds"]


def test_chinese_signs_take_two_columns() -> None:
    assert columns("流失ab") == 6
    assert columns(clipped("客户流失预测数据集合训练", 11)) <= 11
    assert clipped("a\nb  c", 9) == "a b c"
