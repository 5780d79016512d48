"""What each study asks, and that whatever is asked for by name goes before it."""

from __future__ import annotations

from typing import Any

import pytest

from normwise.compare.check import Prepared, prepare
from normwise.compare.network_spec import Initialization
from normwise.compare.spec import STUDIES, make_spec
from normwise.compare.variant import Variant


def prepared(study: str, **fields: Any) -> Prepared:
    return prepare(make_spec({"data": "wine", "study": study} | fields))


def names(question: Prepared) -> list[str]:
    return [variant.name for variant in question.plans[0].variants]


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("data", ["wine", "digits", "diabetes"])
def test_every_study_can_be_asked_of_every_kind_of_data(study: str, data: str) -> None:
    question = prepared(study, data=data)
    assert question.plans
    shed = question.study.shed_first
    known = {variant.name for plan in question.plans for variant in plan.variants}
    assert set(shed) <= known | {"instance"}  # which only fits images


def test_regularizers_are_compared_on_all_and_on_few_rows() -> None:
    question = prepared("regularize", data="digits")
    assert [plan.ground.train_share for plan in question.plans] == [1.0, 0.25, 0.1]
    asked = names(question)
    for part in ("L1 0.0001", "L1 0.01", "L2 0.1", "dropout 0.2", "shift, rotate", "batch + dropout 0.2"):
        assert part in asked
    assert "shift, rotate" not in names(prepared("regularize"))  # rows have no positions
    assert question.name_of(question.plans[2]) == "mlp, 10 % of the rows"


def test_initializations_are_variants_that_each_find_their_own_learning_rate() -> None:
    question = prepared("init")
    assert names(question)[:4] == ["none", "xavier", "none + orthogonal", "lsuv"]
    (plan,) = question.plans
    by_name = {variant.name: plan.trial(variant, 0.1, 0).initialization for variant in plan.variants}
    assert by_name["none"] == by_name["batch"] == Initialization()
    assert by_name["lsuv"] == Initialization(scheme="lsuv")
    assert by_name["he ×0.1"] == by_name["batch + he ×0.1"] == Initialization(scale=0.1)


def test_batch_sizes_go_down_to_two_and_depths_up() -> None:
    assert [plan.ground.batch_size for plan in prepared("batch").plans] == [
        2,
        4,
        8,
        32,
    ]  # 106 rows to train on
    assert [len(plan.ground.network.widths) for plan in prepared("depth").plans] == [2, 4, 8, 16]
    assert names(prepared("position")) == ["none", "batch", "batch after", "batch + output"]


def test_the_article_brings_its_data_unless_other_data_is_named() -> None:
    question = prepare(make_spec({"study": "article"}))
    assert question.data.name == "breast_cancer"
    assert (question.in_shape, question.out_features) == ((20,), 2)
    network = question.plans[0].ground.network
    assert (network.widths, network.single_logit) == ((64, 32), True)
    other = prepared("article")
    assert (other.data.name, other.in_shape) == ("wine", (13,))
    assert not other.plans[0].ground.network.single_logit  # of three classes


def test_what_is_asked_for_by_name_goes_before_the_study() -> None:
    question = prepared(
        "batch", batch_sizes=[16], norms=["none", "rms"], networks=[{"kind": "mlp", "widths": [8]}]
    )
    assert [plan.ground.batch_size for plan in question.plans] == [16]
    assert names(question) == ["none", "rms"]
    assert question.plans[0].ground.network.widths == (8,)
    assert prepared("depth", activation="tanh").plans[0].ground.network.activation == "tanh"


def test_a_variant_with_an_initialization_differs_in_that_alone() -> None:
    assert Variant(init="he:0.5").name == "he ×0.5"
    assert Variant(norm="batch", init="xavier").name == "batch + xavier"
    spec = make_spec({"initializations": [{"scheme": "he"}, {"scheme": "he", "scale": 0.1}]})
    own = spec.initializations_of(Variant(init="xavier"))
    assert [init.name for init in own] == ["xavier ×1", "he ×0.1"]
