import itertools

import pytest
import torch

from normwise.compare.network_spec import Initialization, Network
from normwise.compare.plan import Ground
from normwise.compare.spec import OptimizerName
from normwise.compare.training import Training, batches, make_optimizer
from normwise.compare.variant import Variant
from normwise.data import Split, load
from normwise.models import mlp
from normwise.norms import KINDS

IN_WEIGHTS = [norm for norm, kind in KINDS.items() if kind.weights]
MLP = Network(kind="mlp", widths=(8, 8, 8))


@pytest.fixture(scope="module")
def wine() -> Split:
    return load("wine").split(0)


@pytest.fixture(scope="module")
def digits() -> Split:
    return load("digits").split(0)


def training(split: Split, variant: Variant, *, seed: int = 0, lr: float = 0.05) -> Training:
    return Training(Ground(MLP, None, 32, "sgd", 20), variant, Initialization(), split, lr=lr, seed=seed)


def seen(split: Split, variant: Variant, seed: int = 0, steps: int = 6) -> list[torch.Tensor]:
    """The batches that a network is trained on."""
    inputs: list[torch.Tensor] = []
    run = training(split, variant, seed=seed)
    run.model.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    for _ in range(steps):
        run.step()
    return inputs


def weights(run: Training) -> list[torch.Tensor]:
    return [m.weight.detach().clone() for m in run.model.modules() if isinstance(m, torch.nn.Linear)]


@pytest.mark.parametrize("norm", [norm for norm, kind in KINDS.items() if kind.fits_features])
def test_every_normalization_trains(wine: Split, norm: str) -> None:
    run = training(wine, Variant(norm=norm, weight_decay=0.01), lr=0.02)
    losses = [run.step() for _ in range(100)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("norm", [norm for norm, kind in KINDS.items() if not kind.fits_features])
def test_every_normalization_of_images_trains(digits: Split, norm: str) -> None:
    network = Network(kind="cnn", channels=(8, 16), head=())
    ground = Ground(network, None, 64, "adam", 100)
    run = Training(ground, Variant(norm=norm), Initialization(), digits, lr=0.02, seed=0)
    losses = [run.step() for _ in range(100)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize("norm", ["batch", "layer", "weight", "orthogonal", "ghost:8"])
def test_a_seed_sees_the_same_batches_whatever_the_variant(wine: Split, norm: str) -> None:
    plain, other = seen(wine, Variant()), seen(wine, Variant(norm=norm, dropout=0.2))
    assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))
    assert not torch.equal(plain[0], seen(wine, Variant(), seed=1)[0])


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_seed_starts_from_the_same_weights_whatever_the_variant(wine: Split, norm: str) -> None:
    plain, other = weights(training(wine, Variant())), weights(training(wine, Variant(norm=norm)))
    assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))


def test_an_epoch_holds_every_row_at_most_once_and_all_batches_are_full() -> None:
    order = list(itertools.islice(batches(100, 32, seed=0), 6))
    assert {len(rows) for rows in order} == {32}
    for epoch in (order[:3], order[3:]):
        assert len(torch.cat(epoch).unique()) == 96
    assert not torch.equal(torch.cat(order[:3]), torch.cat(order[3:]))
    met = torch.cat(list(itertools.islice(batches(100, 32, seed=0), 60))).unique()
    assert len(met) == 100  # reshuffling leaves out others each time


def test_training_brings_the_loss_down(wine: Split) -> None:
    run = training(wine, Variant(norm="batch"))
    losses = [run.step() for _ in range(40)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_l1_takes_weights_to_exact_zeros_and_spares_biases(wine: Split) -> None:
    zeros = {}
    for l1 in (0.0, 0.5):
        run = training(wine, Variant(norm="batch", l1=l1))
        for _ in range(20):
            run.step()
        zeros[l1] = sum(int((weight == 0).sum()) for weight in weights(run))
        norms = [m.weight for m in run.model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
        assert all(bool((weight != 0).all()) for weight in norms)
    assert zeros[0.0] == 0
    assert zeros[0.5] > 50


@pytest.mark.parametrize(
    ("norm", "penalty"),
    [
        ("none", {"l2": 0.5}),
        *((norm, {"l1": 0.05}) for norm in IN_WEIGHTS),
        *((norm, {"l2": 0.5}) for norm in IN_WEIGHTS),
    ],
)
def test_a_penalty_is_part_of_the_loss(wine: Split, norm: str, penalty: dict[str, float]) -> None:
    plain = training(wine, Variant(norm=norm)).step()
    assert training(wine, Variant(norm=norm, **penalty)).step() > plain + 0.01  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_weight_decay_spares_norms_and_biases(name: OptimizerName) -> None:
    model = mlp(6, 3, widths=(8, 8), norm="batch")
    optimizer = make_optimizer(name, model, 0.1, 0.01)
    decayed = {
        id(parameter)
        for group in optimizer.param_groups
        if group["weight_decay"]
        for parameter in group["params"]
    }
    assert decayed == {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Linear)}
    everything = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in everything} == {id(parameter) for parameter in model.parameters()}


def test_decoupled_decay_shrinks_weights_without_a_gradient() -> None:
    model = mlp(6, 3, widths=(8,))
    optimizer = make_optimizer("adamw", model, 0.1, 0.5)
    before = model.output.weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(model.output.weight, before * (1 - 0.1 * 0.5))


def test_augmentation_changes_the_batches_and_is_repeatable(digits: Split) -> None:
    variant = Variant(augment=("shift", "erase"))
    plain, once, again = (seen(digits, v, steps=3) for v in (Variant(), variant, variant))
    for a, b, c in zip(plain, once, again, strict=True):
        assert a.shape == b.shape
        assert not torch.equal(a, b)
        assert torch.equal(b, c)
    assert not torch.equal(once[0] - plain[0], once[1] - plain[1])


def asked(run: Training) -> list[torch.Tensor]:
    """The targets that a step is trained on."""
    targets: list[torch.Tensor] = []
    loss = run.loss
    run.loss = lambda output, target: (targets.append(target), loss(output, target))[1]
    for _ in range(3):
        run.step()
    return targets


@pytest.mark.parametrize("name", ["mixup:0.5", "cutmix", "mosaic"])
def test_mixing_changes_targets_with_the_batches(digits: Split, name: str) -> None:
    hard = asked(training(digits, Variant()))
    mixed, again = (asked(training(digits, Variant(augment=("flip", name)))) for _ in range(2))
    for before, after, repeated in zip(hard, mixed, again, strict=True):
        assert after.shape == (32, digits.out_features)
        torch.testing.assert_close(after.sum(1), torch.ones(32))
        assert (after[torch.arange(32), before] > 0).all()  # every row keeps a share of its own class
        assert (after.max(1).values < 0.99).any()
        assert torch.equal(after, repeated)
    plain = seen(digits, Variant(augment=("flip",)), steps=1)[0]
    assert not torch.equal(seen(digits, Variant(augment=("flip", name)), steps=1)[0], plain)


def test_mixing_averages_numbers_and_leaves_evaluation_alone() -> None:
    split = load("diabetes").split(0)
    (plain, *_), (mixed, *_) = (asked(training(split, Variant(augment=a))) for a in ((), ("mixup:5",)))
    assert mixed.shape == plain.shape
    assert mixed.std() < 0.9 * plain.std()


def test_rows_of_a_table_are_augmented(wine: Split) -> None:
    plain, changed = seen(wine, Variant()), seen(wine, Variant(augment=("swap:0.2", "noise:0.01")))
    share = ((plain[0] - changed[0]).abs() > 0.1).float().mean().item()
    assert 0.1 < share < 0.3


def test_a_number_is_trained_on_its_standardised_target() -> None:
    split = load("diabetes").split(0)
    run = training(split, Variant())
    output = run.model(split.train.inputs).detach()
    expected = torch.nn.functional.mse_loss(output[:, 0], split.train.targets)
    assert float(run.loss(output, split.train.targets)) == pytest.approx(float(expected))
    assert float(split.train.targets.std(correction=0)) == pytest.approx(1.0, abs=1e-4)
