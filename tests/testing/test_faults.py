"""The fault collection: what it has to hold, and that a sample of its healthy programs trains well."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from normwise.diagnose.rules import all_rules
from normwise.diagnose.run import run
from normwise.diagnose.subject import Data, Setup
from normwise.testing.faults import FAULTS, Case, Program, faulty, healthy
from normwise.testing.faults.datasets import SETS, data_set
from normwise.testing.faults.healthy import BEST, SHARE, way
from normwise.testing.faults.places import activated, insert, normed, remove, weighted

FAULTY = {case.name: case for case in faulty()}
FIRST = {case.fault.name: case for case in reversed(faulty()) if case.fault is not None}
"""Of each fault the case in its first architecture."""


def test_enough_of_everything() -> None:
    assert len(FAULTS) >= 36
    assert min(len(fault.architectures) for fault in FAULTS) >= 3
    assert len(healthy()) >= 240
    assert Counter(case.half for case in healthy())["held-out"] >= 120


def test_names_are_unique_and_codes_are_rules() -> None:
    assert len(FAULTY) == len(faulty())
    assert len({case.name for case in healthy()}) == len(healthy())
    assert {code for fault in FAULTS for code in fault.codes} <= {rule.code for rule in all_rules()}


def test_every_rule_has_a_fault() -> None:
    assert {rule.code for rule in all_rules()} == {code for fault in FAULTS for code in fault.codes}


def test_a_program_and_its_faults_lie_in_one_half() -> None:
    for case in faulty():
        assert case.half == case.twin.half


def test_the_halves_do_not_change() -> None:
    program = Program("mlp", "wine", norm="batch")
    assert program.name == "mlp-wine-3x32-relu-batch-he-adam-b32"
    assert Case(program).half == "held-out"
    assert Case(replace(program, data="rings")).half == "calibration"
    assert Case(replace(program, data="digits")).half == "held-out"


@pytest.mark.parametrize("name", sorted(FIRST))
def test_a_fault_changes_one_training_and_names_its_place(name: str) -> None:
    case = FIRST[name]
    edited, clean = case.edited(), case.twin.edited().training
    model = edited.training.setup.model
    known = {path for path, _ in model.named_modules()} | {""}
    assert edited.layers
    assert set(edited.layers) <= known
    assert _print(edited.training.setup, edited.training.data) != _print(clean.setup, clean.data)


@pytest.mark.parametrize("name", sorted(FIRST))
def test_an_edit_leaves_the_clean_program_as_it_was(name: str) -> None:
    case = FIRST[name]
    before = _print(case.twin.edited().training.setup, data_set(case.program.data))
    case.edited()
    assert _print(case.twin.edited().training.setup, data_set(case.program.data)) == before


@pytest.mark.parametrize("name", sorted(FIRST))
def test_a_faulty_program_runs(name: str) -> None:
    subject = FIRST[name].subject()
    assert subject.setup is not None
    with torch.no_grad():
        output = subject.model.train()(subject.inputs)
    assert output.shape[0] == len(subject.inputs)


def test_the_text_of_a_training_does_not_change_by_itself() -> None:
    first, again = (Program("mlp", "wine", norm="batch").training() for _ in range(2))
    assert _print(first.setup, first.data) == _print(again.setup, again.data)


def _print(setup: Setup, data: Data) -> tuple[str, ...]:
    """All that a fault can change, as text."""
    modules, state = setup.model.modules(), setup.model.state_dict().items()
    outputs = torch.arange(8.0).reshape(4, 2) if data.classes else torch.arange(4.0)[:, None]
    loss = setup.loss(
        outputs, torch.tensor([0, 1, 0, 1]) if data.classes else torch.tensor([0.0, 2.0, 1.0, 3.0])
    )
    return (
        str(setup.model),
        *[f"{m.training} {getattr(m, 'momentum', 0)} {getattr(m, 'eps', 0)}" for m in modules],
        *[f"{key} {value.dtype} {value.double().sum()}" for key, value in state],
        *[str(parameter.requires_grad) for parameter in setup.model.parameters()],
        f"{setup.optimizer} {setup.batch_size} {setup.evaluates} {float(loss)}",
        f"{data.inputs.double().sum()} {data.targets.double().cumsum(0).sum()} {len(data.inputs)}",
    )


def test_the_same_seed_builds_the_same_network_and_another_one_another() -> None:
    program = Program("cnn", "digits", norm="batch")
    first, again, other = (
        nn.utils.parameters_to_vector(program.build(seed).parameters()) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_building_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    Program("transformer", "motifs").build(0)
    assert torch.equal(torch.rand(1), wanted)


@pytest.mark.parametrize("name", sorted(SETS))
def test_data_is_standardised_and_finite(name: str) -> None:
    data = data_set(name)
    axes = [axis for axis in range(data.inputs.dim()) if axis != 1]
    assert torch.isfinite(data.inputs).all()
    assert float(data.inputs.mean(axes).abs().max()) < 0.3
    assert 0.7 < float(data.inputs.std(axes).max()) < 1.3
    assert data.task == "regression" or int(data.targets.max()) == data.classes - 1


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_a_sample_of_healthy_programs_trains_well(index: int) -> None:
    case = [case for case in healthy() if case.program.architecture == "mlp"][17 * index]
    training = case.edited().training
    seen = run(training.setup, training.data, case.program.steps, watch=False)
    assert way(seen, case.program.data) >= SHARE


def test_way_is_measured_from_the_best_constant_answer() -> None:
    training = Program("mlp", "wine", width=8).training()
    seen = run(training.setup, training.data, 0, watch=False)
    last = replace(seen.evaluated[-1], validation_metric=seen.baseline)
    assert way(replace(seen, evaluated=(last,)), "wine") == 0
    best = replace(last, validation_metric=BEST["wine"])
    assert math.isclose(way(replace(seen, evaluated=(best,)), "wine"), 1)


def test_places() -> None:
    model = nn.Sequential(
        nn.Linear(1, 2), nn.LayerNorm(2), nn.ReLU(), nn.Sequential(nn.Linear(2, 1), nn.Tanh())
    )
    assert weighted(model) == ["0", "3.0"]
    assert normed(model) == [("0", "1")]
    assert sorted(activated(model)) == [("0", "2"), ("3.0", "3.1")]
    insert(model, "3.1", "new", nn.Identity(), after=False)
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "2", "3", "3.0", "3.new", "3.1"]
    remove(model, "2")
    assert [name for name, _ in model.named_children()] == ["0", "1", "3"]


def test_the_source_shows_what_is_wrong() -> None:
    cases = {case.fault.name: case for case in faulty() if case.fault is not None}
    assert "(dropout): Dropout(p=0.5" in cases["dropout-before-batch-norm"].source()
    assert "(dropout)" not in cases["dropout-before-batch-norm"].twin.source()
    assert "model.eval()" in cases["eval-during-training"].source()
    assert "weight_decay=1.0" in cases["heavy-decay"].source()
    assert "batches of 2 of" in cases["batch-too-small"].source()
