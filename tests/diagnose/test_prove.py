import copy
import functools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.diagnose import Data, OptimizerChoice, Setup, Subject, fix, prove, remedies, trial
from normwise.diagnose.judge import MARGIN, judged
from normwise.diagnose.rule import Rule
from normwise.diagnose.run import metric_of, run
from normwise.errors import ArgumentError
from normwise.results import Estimate, Interval
from normwise.results.diagnosis import Finding, Proof

Remedy = Callable[[Setup], Setup]
Build = Callable[[int], nn.Module]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def blobs(scale: float | Tensor = 1.0) -> Data:
    """Three classes of eight features, separable to about 85 %."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 8, generator=generator)
    targets = torch.randint(3, (1200,), generator=generator)
    inputs = (centres[targets] + torch.randn(1200, 8, generator=generator)) * scale
    return Data(inputs[:600], targets[:600], inputs[600:], targets[600:], "classification", 3)


def fewer(data: Data, rows: int) -> Data:
    inputs, targets = data.validation_inputs[:rows], data.validation_targets[:rows]
    return replace(data, validation_inputs=inputs, validation_targets=targets)


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def mlp(activation: type[nn.Module] = nn.ReLU, depth: int = 1) -> nn.Module:
    hidden = [layer for _ in range(depth - 1) for layer in (nn.Linear(16, 16), activation())]
    return nn.Sequential(nn.Linear(8, 16), activation(), *hidden, nn.Linear(16, 3))


def subject(
    make: Callable[[], nn.Module] = mlp, *, lr: float = 0.1, scale: float | Tensor = 1.0, steps: int = 40
) -> Subject:
    build = functools.partial(seeded, make)
    setup = Setup(build(0), OptimizerChoice("SGD", lr), 32, F.cross_entropy)
    return Subject(setup.model, setup=setup, data=blobs(scale), build=build, steps=steps)


def found(code: str = "NW901") -> Finding:
    return Finding(code, "made-up", "", "", 1.0, remedy="do it", applicability="changes training")


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stand in rules NW901, NW902, … with these remedies for all rules."""

    def stand_in(*made: Remedy) -> None:
        rules = tuple(
            Rule(
                f"NW90{number}",
                "made-up",
                *[""] * 4,
                check=lambda facts: (),
                fix=lambda setup, finding, remedy=remedy: remedy(setup),
            )
            for number, remedy in enumerate(made, start=1)
        )
        monkeypatch.setattr(fix, "all_rules", lambda: rules)

    return stand_in


def proof_of(rules: Callable[..., None], remedy: Remedy, given: Subject) -> Proof:
    rules(remedy)
    (proof,) = prove.prove(given, [found()])
    return proof


def test_standardised_inputs_help_where_a_feature_is_a_thousand_times_too_large(
    rules: Callable[..., None],
) -> None:
    scale = torch.ones(8)
    scale[0] = 1000.0
    proof = proof_of(rules, remedies.standardise_inputs, subject(scale=scale))
    assert proof.outcome == "helps"
    assert proof.effect.value is not None
    assert proof.effect.value > 10
    assert proof.effect.unit == "pp"
    assert (proof.seeds, proof.steps, proof.effect.pairs) == (5, 40, 5)
    assert proof.metric == "held-out accuracy"


def test_a_norm_helps_a_deep_network_of_sigmoids(rules: Callable[..., None]) -> None:
    given = subject(functools.partial(mlp, nn.Sigmoid, depth=5))
    proof = proof_of(rules, remedies.insert_norm, given)
    assert proof.outcome == "helps"
    assert proof.control in ("no change", "learning rate ×0.3", "learning rate ×3")


def test_a_learning_rate_helps_where_it_was_the_fault_and_is_held_against_no_change(
    rules: Callable[..., None],
) -> None:
    proof = proof_of(rules, lambda s: remedies.change_rate(s, 0.01), subject(lr=30.0))
    assert (proof.outcome, proof.control) == ("helps", "no change")


def test_what_a_learning_rate_does_alone_is_no_merit_of_another_remedy(rules: Callable[..., None]) -> None:
    given = subject(lr=0.003)
    alone = proof_of(rules, lambda s: remedies.change_rate(s, 3.0), given)
    more = proof_of(rules, lambda s: remedies.clip(remedies.change_rate(s, 3.0), 1e6), given)
    assert (alone.outcome, alone.control) == ("helps", "no change")
    assert (more.outcome, more.control) == ("no difference", "learning rate ×3")


@pytest.mark.parametrize(
    "remedy", [lambda s: s, lambda s: remedies.clip(s, 1e6), lambda s: remedies.larger_batch(s, 33)]
)
def test_a_remedy_that_does_nothing_never_helps(rules: Callable[..., None], remedy: Remedy) -> None:
    assert proof_of(rules, remedy, subject()).outcome in ("no difference", "undecided")


def test_a_remedy_that_destroys_hurts(rules: Callable[..., None]) -> None:
    proof = proof_of(rules, lambda s: remedies.change_rate(s, 1e-4), subject())
    assert proof.outcome == "hurts"
    assert proof.effect.value is not None
    assert proof.effect.value < -10


def test_regression_is_judged_by_r2(rules: Callable[..., None]) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 3, generator=generator) * torch.tensor([1000.0, 1.0, 1.0])
    targets = inputs[:, 1] + inputs[:, 2]
    data = Data(inputs[:200], targets[:200], inputs[200:], targets[200:], "regression")
    build = functools.partial(seeded, lambda: nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1)))
    setup = Setup(build(0), OptimizerChoice("SGD", 0.05), 16, lambda output, y: F.mse_loss(output[:, 0], y))
    given = Subject(setup.model, setup=setup, data=data, build=build, steps=60)
    proof = proof_of(rules, remedies.standardise_inputs, given)
    assert (proof.outcome, proof.metric, proof.effect.unit) == ("helps", "held-out R²", "")
    assert proof.effect.value is not None
    assert 0.3 < proof.effect.value < 1.1


def test_runs_that_diverge_count_as_the_best_constant_answer() -> None:
    setup, data = trial.drawn(subject(lr=1e30), 0)
    share = float((data.validation_targets == data.targets.bincount().argmax()).float().mean())
    assert trial.metric_after(setup, data, 20, 0) == pytest.approx(share)


def test_a_training_whose_loss_is_infinite_once_has_diverged() -> None:
    setup, data = trial.drawn(subject(), 0)
    losses: list[Tensor] = []

    def breaks(output: Tensor, targets: Tensor) -> Tensor:
        losses.append(F.cross_entropy(output, targets))
        return losses[-1] + (math.inf if len(losses) == 35 else 0)

    assert trial.metric_after(setup, data, 40, 0) > 0.7
    setup, _ = trial.drawn(subject(), 0)
    assert trial.metric_after(replace(setup, loss=breaks), data, 40, 0) < 0.5
    assert len(losses) == 35


def test_an_r2_far_below_that_of_the_mean_is_no_worse_than_a_diverged_run() -> None:
    setup, data = trial.drawn(subject(lr=0.0), 0)
    targets, held_out = data.targets.float(), data.validation_targets.float()
    data = replace(data, targets=targets, validation_targets=held_out, task="regression")
    model = seeded(lambda: nn.Linear(8, 1), 0)
    nn.init.constant_(model.bias, 1e3)  # type: ignore[arg-type]
    setup = replace(setup, model=model, loss=lambda output, y: F.mse_loss(output[:, 0], y))
    assert trial.metric_after(setup, data, 1, 0) == 0.0
    assert metric_of(model(data.validation_inputs).detach(), held_out, data) < -1000


@pytest.mark.parametrize(("clip", "evaluates"), [(None, False), (0.1, False), (None, True)])
def test_a_trial_trains_as_a_watched_run_does(clip: float | None, evaluates: bool) -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)
        )

    given = subject(make, scale=3.0)
    setup, data = trial.drawn(given, 3)
    data = fewer(data, 512)
    setup = replace(remedies.standardise_inputs(setup), clip=clip, optimizer=OptimizerChoice("Adam", 0.01))
    setup = replace(setup, evaluates=evaluates)
    watched = run(setup, data, 10, seed=7, watch=False).evaluated[-1]
    assert trial.metric_after(remedies.copied(setup), data, 10, 7) == watched.validation_metric


def test_the_subject_and_the_random_state_stay_as_they_were(rules: Callable[..., None]) -> None:
    rules(remedies.insert_norm)
    given = subject(steps=3)
    before = copy.deepcopy(given.model.state_dict())
    state = torch.get_rng_state()
    prove.prove(given, [found()])
    assert all(torch.equal(value, before[name]) for name, value in given.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_draw_other_weights_where_they_can_and_the_proof_says_where_not(
    rules: Callable[..., None],
) -> None:
    given = subject(steps=3)
    weights = [trial.drawn(given, seed)[0].model[0].weight for seed in (0, 1)]  # type: ignore[index]
    assert not torch.equal(*weights)
    single = replace(given, build=None)
    weights = [trial.drawn(single, seed)[0].model[0].weight for seed in (0, 1)]  # type: ignore[index]
    assert torch.equal(*weights)
    assert (
        proof_of(rules, remedies.standardise_inputs, single).metric == "held-out accuracy, weights as given"
    )


def test_the_learning_rate_is_chosen_on_other_seeds(
    rules: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[float, int]] = []

    def counted(setup: Setup, data: Data, steps: int, seed: int) -> float:
        trained.append((setup.optimizer.lr, seed))
        return setup.optimizer.lr if seed >= 1000 else -setup.optimizer.lr

    monkeypatch.setattr(trial, "metric_after", counted)
    rules(lambda s: remedies.clip(s, 1.0))
    told: list[tuple[int, int]] = []
    prove.prove(subject(lr=1.0), [found()], progress=lambda *done: told.append(done))
    assert sorted(seed for lr, seed in trained if lr == 0.3) == [1000, 1001, 1002]
    assert sorted(seed for lr, seed in trained if lr == 3.0) == [0, 1, 2, 3, 4, 1000, 1001, 1002]
    assert [seed for lr, seed in trained if lr == 1.0] == [0, 1, 2, 3, 4] * 2
    assert told == [(i, 21) for i in range(1, 22)]


def test_equal_remedies_are_trained_once_and_fresh_seeds_are_fresh(
    rules: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def counted(setup: Setup, data: Data, steps: int, seed: int) -> float:
        seeds.append(seed)
        return 0.5

    monkeypatch.setattr(trial, "metric_after", counted)
    rules(remedies.insert_norm, remedies.insert_norm)
    told: list[tuple[int, int]] = []
    proofs = prove.prove(
        subject(), [found("NW901"), found("NW902")], first_seed=50, progress=lambda *done: told.append(done)
    )
    assert [proof.code for proof in proofs] == ["NW901", "NW902"]
    assert len(seeds) == 2 * 3 + 5 * 3
    assert set(seeds) == {*range(50, 55), *range(1050, 1053)}
    assert told[-1] == (26, 26)


def test_dependents_are_tried_where_asked_and_advice_never(rules: Callable[..., None]) -> None:
    rules(remedies.standardise_inputs, lambda s: remedies.clip(s, 1.0), remedies.train_mode)
    advice = replace(found("NW903"), applicability="advice")
    root = replace(found("NW901"), dependents=(found("NW902"), advice))
    given = subject(steps=2)
    assert [proof.code for proof in prove.prove(given, [root])] == ["NW901"]
    assert [proof.code for proof in prove.prove(given, [root], dependents=True)] == ["NW901", "NW902"]
    assert prove.prove(given, [advice]) == ()


def test_a_remedy_that_the_model_cannot_take_is_undecided_and_says_why(rules: Callable[..., None]) -> None:
    proof = proof_of(rules, lambda s: remedies.leave_out(s, "nowhere"), subject(steps=2))
    assert (proof.outcome, proof.effect.value) == ("undecided", None)
    assert "not tried" in proof.remedy
    assert "nowhere" in proof.remedy
    assert prove.verdict([proof]).startswith("no remedy helped\n  NW901: do it (not tried")


def test_too_few_seeds_and_subjects_without_training_are_refused(rules: Callable[..., None]) -> None:
    rules(remedies.train_mode)
    with pytest.raises(ArgumentError, match=r"`seeds` must be at least 5.*Got 4 and 40"):
        prove.prove(subject(), [found()], seeds=4)
    with pytest.raises(ArgumentError, match="must have a training"):
        prove.prove(replace(subject(), data=None), [found()])


def proof(code: str, outcome: str, value: float) -> Proof:
    effect = Estimate(value, Interval(value - 1, value + 1), 5, "pp")
    return Proof(code, "0", "do it", outcome, effect, "held-out accuracy", "no change", 5, 200)  # type: ignore[arg-type]


def test_the_verdict_has_a_headline_and_the_best_first() -> None:
    said = prove.verdict(
        [proof("NW1", "no difference", 0.2), proof("NW2", "helps", 3), proof("NW3", "helps", 12)]
    )
    assert said.splitlines() == [
        "2 of 3 remedies help",
        "  NW3 at `0`: do it: helps by 12 pp [11, 13] held-out accuracy against no change (5 seeds, 200 steps)",
        "  NW2 at `0`: do it: helps by 3 pp [2, 4] held-out accuracy against no change (5 seeds, 200 steps)",
        "  NW1 at `0`: do it: no difference, +0.2 pp [-0.8, 1.2] held-out accuracy against no change "
        "(5 seeds, 200 steps)",
    ]
    assert prove.verdict([proof("NW1", "helps", 5)]).startswith("1 of 1 remedy helps\n")
    assert prove.verdict([proof("NW1", "hurts", -5)]).startswith(
        "no remedy helped\n  NW1 at `0`: do it: hurts, -5 pp"
    )


def simulated(gain: float, *, diverging: float = 0.0, rate_gain: float = 0.0, runs: int = 2000) -> list[str]:
    """Outcomes of trials of five seeds: metrics share an effect of the seed, some runs of each arm are at the floor."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(runs):
        metrics = 0.7 + 0.05 * generator.normal(size=(1, 5)) + 0.03 * generator.normal(size=(3, 5))
        metrics += np.array([[gain], [0.0], [rate_gain]])
        metrics[generator.random((3, 5)) < diverging] = 0.1
        remedy, nothing, rate = np.round(metrics * 500) / 500
        controls = {"no change": list(nothing), "learning rate ×0.3": list(rate)}
        found.append(judged(list(remedy), controls, MARGIN).outcome)
    return found


@pytest.mark.parametrize("diverging", [0.0, 0.2, 0.5])
@pytest.mark.parametrize(("gain", "rate_gain"), [(0.0, 0.0), (0.0, -0.3), (0.2, 0.2)])
def test_remedies_without_an_effect_of_their_own_are_called_helpful_in_at_most_5_percent(
    diverging: float, gain: float, rate_gain: float
) -> None:
    outcomes = simulated(gain, diverging=diverging, rate_gain=rate_gain)
    assert outcomes.count("helps") / len(outcomes) <= 0.05


def test_remedies_with_an_effect_are_seen() -> None:
    outcomes = simulated(0.15)
    assert outcomes.count("helps") / len(outcomes) > 0.9
    outcomes = simulated(-0.15)
    assert outcomes.count("hurts") / len(outcomes) > 0.9


def test_a_gain_below_the_margin_is_no_help() -> None:
    control = [0.80, 0.81, 0.82, 0.83, 0.84]
    barely = [value + 0.009 for value in control]
    assert judged(barely, {"no change": control}, MARGIN).outcome == "no difference"
    assert judged(barely, {"no change": control}, 0.005).outcome == "helps"


def test_a_loss_below_the_margin_is_no_hurt() -> None:
    control = [0.80, 0.81, 0.82, 0.83, 0.84]
    barely = [value - loss for value, loss in zip(control, (0.002, 0.014, 0.008, 0.003, 0.013), strict=True)]
    assert judged(barely, {"no change": control}, MARGIN).outcome == "undecided"
    assert judged(barely, {"no change": control}, 0.005).outcome == "hurts"


def test_a_remedy_must_beat_both_controls() -> None:
    nothing = [0.5, 0.52, 0.48, 0.51, 0.49]
    remedy = [0.9, 0.88, 0.91, 0.89, 0.9]
    rate = [0.95, 0.6, 0.97, 0.62, 0.96]
    assert judged(remedy, {"no change": nothing}, MARGIN).outcome == "helps"
    result = judged(remedy, {"no change": nothing, "learning rate ×3": rate}, MARGIN)
    assert (result.outcome, result.control) == ("undecided", "learning rate ×3")
    assert math.isclose(result.gain, 0.076)


def test_an_erratic_control_is_to_be_beaten_too_and_its_interval_is_given() -> None:
    steady, erratic, remedy = [0.5] * 5, [0.89, 0.0, 0.0, 0.0, 0.9], [0.9] * 5
    assert judged(remedy, {"rate": steady}, MARGIN).outcome == "helps"
    result = judged(remedy, {"rate": steady, "no change": erratic}, MARGIN)
    assert (result.outcome, result.control) == ("undecided", "no change")
    assert result.interval.low is not None
    assert result.interval.low < 0


def test_a_steady_remedy_of_no_gain_seldom_helps_beside_an_erratic_control() -> None:
    generator = np.random.default_rng(0)
    helped = 0
    for _ in range(2000):
        remedy, nothing, rate = np.array([[0.01], [0.1], [0.01]]) * generator.normal(size=(3, 5))
        helped += judged(remedy, {"no change": nothing, "rate": rate - 0.02}, MARGIN).outcome == "helps"
    assert helped / 2000 <= 0.05


def test_small_validation_parts_have_a_larger_margin() -> None:
    data = blobs()
    assert prove.margin_of(data) == MARGIN
    assert prove.margin_of(fewer(data, 50)) == 2 / 50
