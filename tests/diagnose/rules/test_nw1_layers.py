"""Rules of activations, outputs and decay: named where they are wrong, silent about what is meant."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

import normwise as nw
from normwise.diagnose import fix
from normwise.diagnose.api import examine
from normwise.diagnose.subject import Loss, OptimizerChoice, Setup, Subject
from normwise.errors import ArgumentError
from normwise.results.diagnosis import Finding

ROWS = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(8, 5, 6, generator=torch.Generator().manual_seed(2))
CLASSES = torch.randint(3, (32,), generator=torch.Generator().manual_seed(3))


def findings(
    code: str, model: nn.Module, inputs: Tensor, loss: Loss = F.cross_entropy
) -> tuple[Finding, ...]:
    return examine(
        Subject(model, inputs=inputs, targets=CLASSES[: len(inputs)], loss=loss), select=[code]
    ).findings


def layers_of(code: str, model: nn.Module, inputs: Tensor, loss: Loss = F.cross_entropy) -> list[str]:
    return [layer for found in findings(code, model, inputs, loss) for layer in (found.layer, *found.also)]


def linear(*widths: int) -> list[nn.Module]:
    return [nn.Linear(first, second) for first, second in itertools.pairwise(widths)]


def conv(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def head(width: int) -> list[nn.Module]:
    return [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3)]


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)


class Attention(nn.Module):
    """Self-attention with a layer for each of q, k, v and the output, and a feed-forward part behind it."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.out = nn.Linear(6, 6)
        self.q, self.k, self.v = (nn.Linear(6, 6) for _ in range(3))
        self.norm1, self.norm2, self.activation = nn.LayerNorm(6), nn.LayerNorm(6), activation
        self.first, self.second, self.head = nn.Linear(6, 12), nn.Linear(12, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        weights = (self.q(y) @ self.k(y).transpose(1, 2)).softmax(dim=-1)
        x = x + self.out(weights @ self.v(y))
        x = x + self.second(self.activation(self.first(self.norm2(x))))
        return self.head(x.mean(dim=1))


class Probabilities(nn.Module):
    """Softmax as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.layer(x), dim=1)


MISSING: list[tuple[str, Callable[[], nn.Module], Tensor, list[str]]] = [
    ("mlp", lambda: nn.Sequential(*linear(6, 16, 16), nn.ReLU(), nn.Linear(16, 3)), ROWS, ["0"]),
    (
        "a norm",
        lambda: nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), *linear(9, 9), nn.ReLU(), *linear(9, 3)),
        ROWS,
        ["0"],
    ),
    ("dropout", lambda: nn.Sequential(nn.Linear(6, 9), nn.Dropout(), nn.Linear(9, 3)), ROWS, ["0"]),
    ("cnn", lambda: nn.Sequential(conv(4, 8), nn.BatchNorm2d(8), conv(8, 8), *head(8)), IMAGES, ["0"]),
    ("pooled", lambda: nn.Sequential(conv(4, 8), nn.MaxPool2d(2), conv(8, 8), *head(8)), IMAGES, ["0"]),
    (
        "flat",
        lambda: nn.Sequential(conv(4, 8), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 3)),
        IMAGES,
        ["0"],
    ),
    ("attention", lambda: Attention(nn.Identity()), TOKENS, ["first"]),
]

MEANT: list[tuple[str, Callable[[], nn.Module], Tensor]] = [
    ("low rank", lambda: nn.Sequential(*linear(6, 2, 3)), ROWS),
    ("one layer", lambda: nn.Linear(6, 3), ROWS),
    (
        "depthwise",
        lambda: nn.Sequential(conv(4, 4, groups=4), nn.BatchNorm2d(4), conv(4, 8, 1), *head(8)),
        IMAGES,
    ),
    ("along axes", lambda: nn.Sequential(nn.Conv2d(4, 4, (1, 3)), nn.Conv2d(4, 8, (3, 1)), *head(8)), IMAGES),
    (
        "bottleneck",
        lambda: nn.Sequential(conv(4, 8), nn.ReLU(), conv(8, 8, 1), conv(8, 16, 1), *head(16)),
        IMAGES,
    ),
    ("patches", lambda: nn.Sequential(nn.Conv2d(4, 8, 2, stride=2), conv(8, 8), *head(8)), IMAGES),
    (
        "upsampling",
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 8, 2, stride=2), conv(8, 8), *head(8)),
        IMAGES,
    ),
    ("shuffled", lambda: nn.Sequential(conv(4, 16), nn.PixelShuffle(2), conv(4, 8), *head(8)), IMAGES),
    ("attention", lambda: Attention(nn.GELU()), TOKENS),
    ("torch's encoder", lambda: nn.Sequential(encoder(), nn.Flatten(), nn.Linear(30, 3)), TOKENS),
    ("fewer channels", lambda: nn.Sequential(conv(4, 2, 1), nn.Flatten(), nn.Linear(128, 3)), IMAGES),
    ("a fused activation", lambda: nn.Sequential(*linear(6, 9), nw.BatchNormAct1d(9), *linear(9, 3)), ROWS),
    ("a tanh norm", lambda: nn.Sequential(nn.Linear(6, 9), nw.DynamicTanh(9), nn.Linear(9, 3)), ROWS),
]


@pytest.mark.parametrize(("name", "make", "inputs", "layers"), MISSING)
def test_a_missing_activation_is_named(
    name: str, make: Callable[[], nn.Module], inputs: Tensor, layers: list[str]
) -> None:
    assert layers_of("NW108", make(), inputs) == layers


@pytest.mark.parametrize(("name", "make", "inputs"), MEANT)
def test_layers_that_belong_together_miss_nothing(
    name: str, make: Callable[[], nn.Module], inputs: Tensor
) -> None:
    assert layers_of("NW108", make(), inputs) == []


@pytest.mark.parametrize(("name", "make", "inputs", "layers"), MISSING)
def test_with_the_activation_put_in_nothing_is_missing(
    name: str, make: Callable[[], nn.Module], inputs: Tensor, layers: list[str]
) -> None:
    model = make()
    (finding,) = findings("NW108", model, inputs)
    fixed = fix.apply(Setup(model, OptimizerChoice(), 8, F.cross_entropy, example=inputs), finding)
    assert layers_of("NW108", fixed.model, inputs) == []


def test_the_activation_comes_behind_the_norm() -> None:
    model = nn.Sequential(conv(4, 8), nn.BatchNorm2d(8), conv(8, 8), *head(8))
    (finding,) = findings("NW108", model, IMAGES)
    fixed = fix.apply(Setup(model, OptimizerChoice(), 8, F.cross_entropy, example=IMAGES), finding).model
    assert [type(m) for m in fixed.get_submodule("1").children()] == [nn.BatchNorm2d, nn.ReLU]


def negative_log(output: Tensor, classes: Tensor) -> Tensor:
    return F.nll_loss(output.clamp_min(1e-9).log(), classes)


@pytest.mark.parametrize("loss", [F.cross_entropy, nn.CrossEntropyLoss(label_smoothing=0.1)])
def test_softmax_before_cross_entropy_is_named_and_taken_out(loss: Loss) -> None:
    model = nn.Sequential(nn.Linear(6, 3), nn.Softmax(dim=1))
    (finding,) = findings("NW109", model, ROWS, loss)
    assert finding.layer == "1"
    fixed = fix.apply(Setup(model, OptimizerChoice(), 32, loss, example=ROWS), finding).model
    assert layers_of("NW109", fixed, ROWS, loss) == []
    assert torch.equal(fixed(ROWS).argmax(dim=1), model(ROWS).argmax(dim=1))


def test_softmax_as_a_function_is_named_by_its_layer_and_is_for_a_person_to_change() -> None:
    model = Probabilities()
    (finding,) = findings("NW109", model, ROWS)
    assert (finding.layer, finding.applicability) == ("layer", "advice")
    with pytest.raises(ArgumentError):
        fix.apply(Setup(model, OptimizerChoice(), 32, F.cross_entropy), finding)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(dim=1)), F.cross_entropy),
        (nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(dim=1)), F.nll_loss),
        (nn.Sequential(nn.Linear(6, 3), nn.Softmax(dim=1)), negative_log),
        (nn.Sequential(nn.Linear(6, 3), nn.Softmax(dim=1), nn.Linear(3, 3)), F.cross_entropy),
        (nn.Linear(6, 3), F.cross_entropy),
    ],
)
def test_what_fits_its_loss_is_left_alone(model: nn.Module, loss: Loss) -> None:
    assert layers_of("NW109", model, ROWS, loss) == []


def test_a_sigmoid_before_a_loss_of_logits_is_the_same_fault() -> None:
    model = nn.Sequential(nn.Linear(6, 1), nn.Sigmoid())

    def binary(output: Tensor, classes: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output[:, 0], (classes > 0).float())

    assert layers_of("NW109", model, ROWS, binary) == ["1"]


def numbers(model: nn.Module, targets: Tensor, loss: Loss = F.mse_loss) -> tuple[Finding, ...]:
    subject = Subject(model, inputs=ROWS, targets=targets, loss=loss)
    return examine(subject, select=["NW111", "NW407"]).findings


@pytest.mark.parametrize("last", [nn.ReLU(), nn.Tanh(), nn.Softplus()])
def test_scores_behind_an_activation_are_named_and_it_is_taken_out(last: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(6, 3), last)
    (finding,) = findings("NW111", model, ROWS)
    assert finding.layer == "1"
    fixed = fix.apply(Setup(model, OptimizerChoice(), 32, F.cross_entropy, example=ROWS), finding).model
    assert layers_of("NW111", fixed, ROWS) == []


class Rectified(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layer(x))


def test_an_activation_as_a_function_is_named_by_its_layer() -> None:
    (finding,) = findings("NW111", Rectified(), ROWS)
    assert (finding.layer, finding.applicability) == ("layer", "advice")
    with pytest.raises(ArgumentError, match="Got advice for NW111"):
        fix.apply(Setup(Rectified(), OptimizerChoice(), 32, F.cross_entropy), finding)


@pytest.mark.parametrize(
    ("last", "targets", "found"),
    [
        (nn.ReLU(), ROWS[:, :1], True),
        (nn.ReLU(), ROWS[:, :1].abs(), False),
        (nn.Sigmoid(), 5 * ROWS[:, :1].abs(), True),
        (nn.Sigmoid(), ROWS[:, :1].sigmoid(), False),
        (nn.Tanh(), 3 * ROWS[:, :1], True),
        (nn.Tanh(), ROWS[:, :1].tanh(), False),
        (nn.LeakyReLU(), ROWS[:, :1], False),
    ],
)
def test_a_regression_needs_outputs_where_its_targets_are(
    last: nn.Module, targets: Tensor, found: bool
) -> None:
    model = nn.Sequential(nn.Linear(6, 1), last)
    assert [f.code for f in numbers(model, targets)] == (["NW111"] if found else [])


class Clamped(nn.Module):
    def __init__(self, clamp: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.clamp = nn.Linear(6, 1), clamp

    def forward(self, x: Tensor) -> Tensor:
        return self.clamp(self.layer(x))


@pytest.mark.parametrize(
    ("clamp", "found"),
    [
        (lambda y: y.clamp(0, 1), True),
        (lambda y: torch.clamp(y, max=0.5), True),
        (lambda y: y.clip(min=-100.0), False),
        (nn.Hardtanh(0.0, 1.0), True),
        (nn.Hardtanh(-50.0, 50.0), False),
        (lambda y: y.clamp(0, 1) * 2 - 1, False),
    ],
)
def test_a_clamp_on_outputs_keeps_them_from_targets(clamp: Callable[[Tensor], Tensor], found: bool) -> None:
    assert [f.code for f in numbers(Clamped(clamp), ROWS[:, :1])] == (["NW111"] if found else [])


def test_an_activation_before_a_mean_gives_scores_of_one_sign_and_is_meant() -> None:
    """As SqueezeNet ends, and trains well."""
    model = nn.Sequential(conv(4, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert layers_of("NW111", model, IMAGES) == []


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, lambda y, t: (y - t).square().sum()])
def test_targets_of_another_shape_that_the_loss_broadcasts(loss: Loss) -> None:
    (finding,) = numbers(nn.Linear(6, 1), ROWS[:, 0], loss)
    assert finding.code == "NW407"
    assert "32 × 1 against targets of 32" in finding.message


@pytest.mark.parametrize(
    ("targets", "loss"),
    [
        (ROWS[:, :1], F.mse_loss),
        (ROWS[:, 0], lambda y, t: F.mse_loss(y.squeeze(1), t)),
        (ROWS[:, 0], lambda y, t: (y.flatten() - t).abs().sum()),
    ],
)
def test_targets_that_the_loss_pairs_with_their_outputs(targets: Tensor, loss: Loss) -> None:
    assert numbers(nn.Linear(6, 1), targets, loss) == ()


@pytest.mark.parametrize(
    ("last", "loss", "named"),
    [
        (nn.Identity(), F.nll_loss, True),
        (nn.Softmax(dim=1), nn.NLLLoss(), True),
        (nn.LogSoftmax(dim=1), F.nll_loss, False),
        (nn.Identity(), lambda y, t: F.nll_loss(y.log_softmax(dim=1), t), False),
        (nn.Identity(), F.cross_entropy, False),
    ],
)
def test_nll_loss_takes_logarithms_of_probabilities(last: nn.Module, loss: Loss, named: bool) -> None:
    assert bool(findings("NW115", nn.Sequential(nn.Linear(6, 3), last), ROWS, loss)) == named


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)), ["1"]),
        (nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5), nn.Flatten()), ["1"]),
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3)), []),
        (nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.0)), []),
    ],
)
def test_dropout_behind_the_last_layer(model: nn.Module, layers: list[str]) -> None:
    assert layers_of("NW112", model, ROWS) == layers
    for finding in findings("NW112", model, ROWS):
        fixed = fix.apply(Setup(model, OptimizerChoice(), 32, F.cross_entropy, example=ROWS), finding).model
        assert layers_of("NW112", fixed, ROWS) == []


class Dropping(nn.Module):
    def __init__(self, *, told: bool) -> None:
        super().__init__()
        self.layer, self.head, self.told = nn.Linear(6, 8), nn.Linear(8, 3), told

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.layer(x))
        return self.head(F.dropout(x, 0.5, training=self.training) if self.told else F.dropout(x, 0.5))


def test_dropout_that_is_not_told_of_evaluation() -> None:
    (finding,) = findings("NW113", Dropping(told=False), ROWS)
    assert "drops units in evaluation" in finding.message
    assert layers_of("NW113", Dropping(told=True), ROWS) == []
    inner = nn.Sequential(nn.Linear(6, 6), Dropping(told=False))
    assert layers_of("NW113", inner, ROWS) == ["1"]


class Mixing(nn.Module):
    """What `how` does to (N, 8) features before the head."""

    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.head, self.how = nn.Linear(6, 8), nn.Linear(8, 3), how

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.how(self.layer(x)))


@pytest.mark.parametrize(
    ("how", "mixed"),
    [
        (lambda x: x.softmax(dim=0), True),
        (lambda x: x.t().reshape(-1, 8), True),
        (lambda x: x - x.mean(dim=0), True),
        (lambda x: x.softmax(dim=1), False),
        (lambda x: x.reshape(-1, 2, 4).transpose(1, 2).flatten(1), False),
        (lambda x: x + torch.randn_like(x), False),  # not the same for the same batch: nothing is said
    ],
)
def test_samples_that_have_a_part_in_each_other(how: Callable[[Tensor], Tensor], mixed: bool) -> None:
    found = findings("NW114", Mixing(how), ROWS)
    assert bool(found) == mixed


@pytest.mark.parametrize("first", [True, False])
def test_a_recurrent_layer_that_takes_samples_for_time(first: bool) -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.GRU(6, 8, batch_first=first), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cell(x)[0][:, -1])

    assert bool(findings("NW114", Reader(), TOKENS)) != first


def test_norms_that_take_statistics_of_the_batch_on_purpose_mix_samples() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3))
    assert layers_of("NW114", model, ROWS) == []


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("kind", "decay", "layers"),
    [
        (torch.optim.AdamW, 0.05, ["1"]),
        (torch.optim.AdamW, 0.01, []),
        (torch.optim.SGD, 0.01, ["1"]),
        (torch.optim.SGD, 5e-4, []),
    ],
)
def test_strong_decay_of_norms_is_named(
    kind: type[torch.optim.Optimizer], decay: float, layers: list[str]
) -> None:
    model = normed()
    optimizer = kind(model.parameters(), lr=0.1, weight_decay=decay)  # type: ignore[call-arg]
    found = examine(Subject(model, inputs=ROWS, optimizer=optimizer), select=["NW110"]).findings
    assert [finding.layer for finding in found] == layers


def test_decay_that_spares_norms_is_no_fault_and_is_the_remedy() -> None:
    model = normed()
    spared = torch.optim.AdamW(nw.parameter_groups(model, weight_decay=0.05), lr=0.1)
    assert examine(Subject(model, inputs=ROWS, optimizer=spared), select=["NW110"]).findings == ()
    choice = OptimizerChoice("AdamW", 0.1, (("weight_decay", 0.05),), spares_norms=False)
    setup = Setup(model, choice, 32, F.cross_entropy)
    (finding,) = examine(Subject(model, inputs=ROWS, setup=setup), select=["NW110"]).findings
    fixed = fix.apply(setup, finding)
    assert examine(Subject(fixed.model, inputs=ROWS, setup=fixed), select=["NW110"]).findings == ()


def test_a_network_without_norms_has_none_that_decay() -> None:
    model = nn.Sequential(*linear(6, 8, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    assert examine(Subject(model, inputs=ROWS, optimizer=optimizer), select=["NW110"]).findings == ()
