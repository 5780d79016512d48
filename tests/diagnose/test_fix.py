import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

import normwise as nw
from normwise.diagnose import OptimizerChoice, Setup, fix, remedies
from normwise.diagnose.api import examine
from normwise.diagnose.remedies.draw import _REMEDIES
from normwise.diagnose.remedies.inputs import standardisation
from normwise.diagnose.rule import Rule
from normwise.diagnose.subject import Subject
from normwise.errors import ArgumentError, UnknownNameError
from normwise.layers.normalized import Normalized
from normwise.results.diagnosis import Applicability, Diagnosis, Finding

Remedy = Callable[[Setup], Setup]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8),
        nn.BatchNorm1d(8),
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.Linear(8, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    )


def setup(model: nn.Module | None = None) -> Setup:
    example = torch.randn(64, 4, generator=torch.Generator().manual_seed(1)) * 5 + 2
    choice = OptimizerChoice("SGD", 0.1, (("weight_decay", 0.01),), spares_norms=False)
    return Setup(model or network(), choice, 16, F.cross_entropy, example=example)


def finding(
    code: str = "NW901", applicability: Applicability = "changes training", layer: str = ""
) -> Finding:
    return Finding(code, "made-up", layer, "", 1.0, remedy="do it", applicability=applicability)


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stand in rules NW901, NW902, … with these remedies for all rules."""

    def stand_in(*made: Remedy | None) -> None:
        found = tuple(
            Rule(
                f"NW90{number}",
                "made-up",
                "",
                "",
                "",
                "",
                check=lambda facts: (),
                fix=None if remedy is None else lambda setup, finding, remedy=remedy: remedy(setup),
            )
            for number, remedy in enumerate(made, start=1)
        )
        monkeypatch.setattr(fix, "all_rules", lambda: found)

    return stand_in


def applied(remedy: Remedy, given: Setup | None = None) -> Setup:
    given = given or setup()
    torch.manual_seed(0)
    return remedy(remedies.copied(given))


@pytest.mark.parametrize("words", dict(_REMEDIES))
def test_the_given_model_is_never_touched(rules: Callable[..., None], words: str) -> None:
    rules(dict(_REMEDIES)[words])
    given = setup()
    before = copy.deepcopy(given.model)
    fixed = fix.apply(given, finding())
    assert not remedies.differences(replace(given, model=before), given)
    assert fixed.model is not given.model


def test_every_remedy_that_is_drawn_changes_what_its_words_say() -> None:
    changed = {words: remedies.differences(setup(), applied(remedy)) for words, remedy in _REMEDIES}
    assert changed.pop("learning rate × 0.1") == changed.pop("learning rate × 10") == {"lr"}
    assert changed.pop("gradients clipped to 1") == {"clip"}
    assert changed.pop("batches twice as large") == {"batch_size"}
    assert changed.pop("standardised inputs") == {"transform"}
    assert changed.pop("training mode") == frozenset()
    assert changed.pop("norms without weight decay") == {"optimizer"}
    assert changed.pop("weight decay 1e-4") == changed.pop("no weight decay") == {"optimizer"}
    assert set(changed.values()) == {frozenset({"model"})}


def test_a_real_finding_is_fixed_and_found_no_more() -> None:
    given = setup()
    subject = Subject(given.model, inputs=given.example)
    (found,) = examine(subject, select=["NW101"]).findings
    fixed = fix.apply(given, found)
    assert given.model[0].bias is not None
    assert fixed.model[0].bias is None
    assert examine(replace(subject, model=fixed.model), select=["NW101"]).findings == ()


def test_advice_is_refused_with_the_advice(rules: Callable[..., None]) -> None:
    rules(None, remedies.train_mode)
    with pytest.raises(ArgumentError, match=r"can be applied.*advice for NW901.*hint: do it"):
        fix.apply(setup(), finding())
    with pytest.raises(ArgumentError, match=r"advice for NW902 at `0`"):
        fix.apply(setup(), finding("NW902", "advice", "0"))
    with pytest.raises(UnknownNameError, match="NW999"):
        fix.apply(setup(), finding("NW999"))


def test_a_model_that_does_not_run_any_more_is_refused(rules: Callable[..., None]) -> None:
    def breaks(setup: Setup) -> Setup:
        setup.model[4] = nn.Linear(7, 8)  # type: ignore[operator]
        return setup

    rules(breaks)
    with pytest.raises(ArgumentError, match="must run with the remedy of NW901 in evaluation"):
        fix.apply(setup(), finding())


def test_an_optimizer_that_does_not_take_its_options_is_refused(rules: Callable[..., None]) -> None:
    given = setup()
    given = replace(given, optimizer=given.optimizer.with_options(momentum=0.9))
    rules(
        lambda s: replace(s, optimizer=replace(s.optimizer, name="AdamW")),
        lambda s: remedies.change_optimizer(s, "AdamW", 1e-3, weight_decay=0.1),
    )
    with pytest.raises(ArgumentError, match=r"AdamW must take.*momentum"):
        fix.apply(given, finding())
    fixed = fix.apply(given, finding("NW902")).optimizer
    assert (fixed.name, fixed.lr, fixed.options) == ("AdamW", 1e-3, (("weight_decay", 0.1),))
    with pytest.raises(UnknownNameError, match="Adam"):
        remedies.change_optimizer(given, "Adma")


def test_differences_of_models_are_seen_in_values_types_and_gradients_but_not_in_modes() -> None:
    def altered(change: Callable[[nn.Module], object]) -> frozenset[str]:
        given = setup()
        made = remedies.copied(given)
        change(made.model)
        return remedies.differences(given, made)

    assert altered(lambda model: model.eval()) == frozenset()
    for change in (
        lambda model: model[0].bias.data.add_(1),
        lambda model: model[0].requires_grad_(False),
        lambda model: model[1].half(),
        lambda model: model[0].register_parameter("bias", None),
        lambda model: setattr(model[1], "momentum", 0.5),
        lambda model: setattr(model[1], "train", lambda mode=True: model[1]),
    ):
        assert altered(change) == {"model"}


def test_a_layer_that_is_not_there_is_said(rules: Callable[..., None]) -> None:
    def misses(setup: Setup) -> Setup:
        setup.model.get_submodule("nowhere")
        return setup

    rules(misses)
    with pytest.raises(ArgumentError, match=r"the one that was diagnosed.*nowhere"):
        fix.apply(setup(), finding())


def test_weights_are_drawn_by_the_seed_and_the_random_state_stays(rules: Callable[..., None]) -> None:
    rules(remedies.initialise)
    made = [setup() for _ in range(3)]
    state = torch.get_rng_state()
    first, again, other = (
        fix.apply(each, finding(), seed=s) for each, s in zip(made, (1, 1, 2), strict=True)
    )
    assert torch.equal(first.model[0].weight, again.model[0].weight)
    assert not torch.equal(first.model[0].weight, other.model[0].weight)
    assert torch.equal(torch.get_rng_state(), state)


def diagnosis(*findings: Finding) -> Diagnosis:
    return Diagnosis("a network", (), (), findings, ())


def test_safe_remedies_come_first_and_others_only_where_asked(rules: Callable[..., None]) -> None:
    rules(lambda s: remedies.change_rate(s, 0.5), lambda s: remedies.clip(s, 1.0), None)
    loud, safe, words = finding("NW901"), finding("NW902", "safe"), finding("NW903")
    given = setup()
    careful = fix.apply_all(given, diagnosis(loud, safe, words))
    assert careful.applied == (safe,)
    assert careful.setup.clip == 1.0
    assert careful.setup.optimizer.lr == given.optimizer.lr
    assert [why for _, why in careful.left] == [
        "it changes training, and is applied only where that is asked for",
        "it is advice",
    ]
    bold = fix.apply_all(given, diagnosis(loud, safe, words), unsafe=True)
    assert bold.applied == (safe, loud)
    assert bold.setup.optimizer.lr == given.optimizer.lr / 2
    assert [each.code for each, _ in bold.left] == ["NW903"]


def test_dependents_get_safe_remedies_alone(rules: Callable[..., None]) -> None:
    rules(
        remedies.standardise_inputs, lambda s: remedies.clip(s, 1.0), lambda s: remedies.change_rate(s, 0.5)
    )
    root = replace(finding("NW901"), dependents=(finding("NW902", "safe"), finding("NW903")))
    fixed = fix.apply_all(setup(), diagnosis(root), unsafe=True)
    assert [each.code for each in fixed.applied] == ["NW902", "NW901"]
    assert [(each.code, why) for each, why in fixed.left] == [
        ("NW903", "it follows from NW901: diagnose again after that remedy")
    ]


def test_a_remedy_that_cannot_be_applied_leaves_the_others(rules: Callable[..., None]) -> None:
    rules(lambda s: remedies.leave_out(s, "nowhere"), lambda s: remedies.clip(s, 1.0))
    fixed = fix.apply_all(setup(), diagnosis(finding("NW901", "safe"), finding("NW902", "safe")))
    assert [each.code for each in fixed.applied] == ["NW902"]
    assert "nowhere" in fixed.left[0][1]


def test_a_norm_stands_before_the_activation_and_batch_statistics_are_of_the_transformed_example() -> None:
    plain = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 3))
    made = applied(lambda s: remedies.insert_norm(remedies.standardise_inputs(s), "batch"), setup(plain))
    assert isinstance(made.model[0], Normalized)
    assert not isinstance(made.model[2], Normalized)
    assert remedies.inputs_of(made, "this").std() == pytest.approx(1.0, abs=0.01)


def test_norms_get_the_statistics_of_the_example() -> None:
    given = setup()
    made = applied(remedies.recalibrate, given)
    seen = given.model[0](given.example)
    torch.testing.assert_close(made.model[1].running_mean, seen.mean(dim=0))


def test_a_norm_becomes_another_kind() -> None:
    made = applied(lambda s: remedies.convert_norm(s, "batch", "layer", ["1"]))
    assert isinstance(made.model[1], nw.LayerNorm | nw.LayerNorm1d)


@pytest.mark.parametrize("name", ["2", "0", "1"])
def test_an_activation_is_swapped_by_its_name_or_by_its_layer(name: str) -> None:
    if name == "1":
        with pytest.raises(ArgumentError, match="behind `1`"):
            applied(lambda s: remedies.swap_activation(s, name, "relu"))
        return
    made = applied(lambda s: remedies.swap_activation(s, name, "relu"))
    assert [type(made.model[i]) for i in (2, 5)] == [nn.ReLU, nn.Tanh]


def test_an_activation_at_several_places_is_swapped_at_all() -> None:
    shared = nn.Tanh()
    model = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared, nn.Linear(4, 3))
    made = applied(lambda s: remedies.swap_activation(s, "0", "gelu"), setup(model))
    assert made.model[1] is made.model[3]
    assert isinstance(made.model[1], nn.GELU)


def test_the_gain_is_that_of_the_models_activation() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 3))
    made = applied(remedies.initialise, replace(setup(wide), example=None))
    assert made.model[0].weight.detach().std().item() * math.sqrt(256) == pytest.approx(1.593, rel=0.02)


def test_rates_of_dropout_change_where_they_are_named() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3), nn.Dropout(0.5))
    made = applied(lambda s: remedies.change_dropout(s, 0.1, "2"), setup(model))
    assert (made.model[0].p, made.model[2].p) == (0.5, 0.1)
    with pytest.raises(ArgumentError, match=r"below 1.*Got 1\.0"):
        applied(lambda s: remedies.change_dropout(s, 1.0), setup(model))


def test_standardised_inputs_have_no_mean_and_unit_spread_and_constants_stay_finite() -> None:
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e4, 1.0, 0.0]) + 7
    x[0, 0] = torch.nan
    changed = standardisation(x)(x)[1:]
    torch.testing.assert_close(changed[:, :2].std(dim=0), torch.ones(2), atol=0.01, rtol=0)
    torch.testing.assert_close(changed.mean(dim=0), torch.zeros(3), atol=0.01, rtol=0)
    with pytest.raises(ArgumentError, match="int64"):
        standardisation(torch.zeros(2, 2, dtype=torch.int64))


def test_images_are_standardised_by_channel_after_an_earlier_transform() -> None:
    images = torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    given = replace(
        setup(), transform=lambda training: lambda x: x * torch.tensor([1.0, 10, 100])[:, None, None]
    )
    made = remedies.standardise_inputs(given)
    assert made.transform is not None
    changed = made.transform(images)(images)
    torch.testing.assert_close(changed.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(changed.var(dim=(0, 2, 3), correction=0), torch.ones(3))


def test_remedies_that_look_at_data_ask_for_an_example() -> None:
    bare = replace(setup(), example=None)
    with pytest.raises(
        ArgumentError, match=r"`insert_norm` must have inputs.*hint: give the setup an `example`"
    ):
        applied(remedies.insert_norm, bare)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_factors_are_finite_and_positive(value: float) -> None:
    with pytest.raises(ArgumentError, match="finite and positive"):
        remedies.change_rate(setup(), value)
    with pytest.raises(ArgumentError, match="finite and positive"):
        remedies.clip(setup(), value)


def test_a_random_remedy_is_that_of_its_seed_and_changes_something() -> None:
    given = setup(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    before = copy.deepcopy(given.model)
    drawn = {seed: remedies.random_remedy(given, seed) for seed in range(30)}
    assert len({words for _, words in drawn.values()}) > 5
    for seed, (made, words) in drawn.items():
        assert remedies.differences(given, made), words
        assert not remedies.differences(made, remedies.random_remedy(given, seed)[0]), words
    assert not remedies.differences(replace(given, model=before), given)
