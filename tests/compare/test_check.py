from typing import Any

import pytest
import torch

from normwise.compare.check import DEFAULT_STEPS, prepare
from normwise.compare.spec import make_spec
from normwise.errors import ArgumentError, UnknownNameError


def both(norm: str) -> tuple[dict[str, str], ...]:
    return ({"norm": "none"}, {"norm": norm})


SMALL = {"networks": ({"kind": "mlp", "widths": (8, 8, 8)},)}
CNN = {"networks": ({"kind": "cnn", "channels": (4, 6), "head": (8,)},)}


def question(data: str = "wine", **fields: Any) -> Any:
    return make_spec({"data": data} | SMALL | fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batch_sizes": (500,)}, ["--batch-size 500", "training rows", "use --batch-size"]),
        ({"batch_sizes": (1,), "variants": both("batch")}, ["Batch", "--norm group"]),
        ({"batch_sizes": (1,), "variants": both("decorrelated")}, ["Decorrelated Batch", "--norm group"]),
        ({"variants": both("group:3")}, ["8 and 3", "1, 2, 4, 8"]),
        ({"variants": both("decorrelated:3")}, ["8 and 3", "1, 2, 4, 8"]),
        ({"data": "digits", "variants": both("evonorm_s0:4")} | CNN, ["6 and 4", "1, 2, 3, 6"]),
        ({"data": "digits", "variants": both("group:4")} | CNN, ["6 and 4", "1, 2, 3, 6"]),
        (CNN, ["a cnn needs images", "13 columns", "--network mlp"]),
        ({"variants": ({"norm": "instance"},)}, ["Instance Normalization needs positions"]),
        ({"variants": ({"norm": "evonorm_b0"},)}, ["EvoNorm-B0 needs positions"]),
        (
            {"data": "digits", "variants": ({"norm": "scale"},)} | CNN,
            ["Scale Normalization takes rows of features", "--norm rms"],
        ),
        ({"variants": both("instance")}, ["two variants or more of one network", "Got none."]),
        ({"variants": ({"norm": "none"},)}, ["two variants or more", "--norm none,batch"]),
        ({"goal": 0.9}, ["--goal", "90 for 0.9"]),
        ({"goal": 100.5}, ["--goal", "accuracy, in %"]),
        (
            {"variants": ({"norm": "none"}, {"norm": "none", "augment": ("flip",)})},
            ["augment", "images", "13 columns"],
        ),
        (
            {"data": "digits", "variants": ({}, {"augment": ("swap", "mixup")})},
            ["`augment` needs tables", "swap+mixup for images of 1 × 8 × 8"],
        ),
        (
            {"variants": ({}, {"augment": ("noise", "cutmix")})},
            ["`augment` needs images", "noise+cutmix for rows of 13 columns"],
        ),
        ({"data": "digits", "variants": ({}, {"augment": ("mixup", "cutmix")})}, ["one operation may mix"]),
        (
            {"data": "digits", "variants": ({}, {"augment": ("rotate:ten",)})},
            ["rotate:ten"],
        ),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_trained(
    fields: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ArgumentError) as caught:
        prepare(question(**fields))
    message = str(caught.value)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "fields",
    [{"data": "wien"}, {"metric": "rmse"}, {"baseline": "batsch"}],
    ids=lambda fields: next(iter(fields)),
)
def test_unknown_names_are_told_before_anything_is_trained(fields: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError):
        prepare(question(**fields))


def test_rows_get_a_perceptron_and_images_also_a_convolutional_network() -> None:
    for data, kinds in (("wine", ["mlp"]), ("digits", ["mlp", "cnn"])):
        prepared = prepare(make_spec({"data": data, "variants": both("layer"), "activation": "tanh"}))
        assert [network.kind for network in prepared.spec.networks] == kinds
        assert {network.activation for network in prepared.spec.networks} == {"tanh"}


def test_the_length_of_a_training_is_given_in_steps_or_epochs() -> None:
    def steps(**fields: Any) -> int:
        return prepare(question(variants=both("layer"), batch_sizes=(10,), **fields)).plans[0].ground.steps

    assert steps() == DEFAULT_STEPS
    assert steps(steps=7) == 7
    rows = prepare(question()).sizes[0]
    assert steps(epochs=2.5) == round(2.5 * (rows // 10))
    assert steps(epochs=1e-9) == 1


def test_what_a_setting_leaves_out_is_noted() -> None:
    variants = (*both("layer"), {"norm": "instance"})
    networks = ({"kind": "mlp", "widths": (8,)}, {"kind": "cnn", "channels": (4,), "head": ()})
    mlp, cnn = (prepared := prepare(question("digits", variants=variants, networks=networks))).plans
    assert [variant.name for variant in mlp.variants] == ["none", "layer"]
    assert "instance: left out" in prepared.notes[mlp.ground.name][0]
    assert [variant.name for variant in cnn.variants] == ["none", "layer", "instance"]
    assert prepared.notes[cnn.ground.name] == ()


def test_each_network_gets_what_fits_it() -> None:
    variants = (*both("filter_response"), {"norm": "global_response"}, {"norm": "scale"})
    networks = ({"kind": "mlp", "widths": (8,)}, {"kind": "cnn", "channels": (4,), "head": (8,)})
    mlp, cnn = (prepared := prepare(question("digits", variants=variants, networks=networks))).plans
    assert [variant.name for variant in mlp.variants] == ["none", "scale"]
    assert prepared.notes[mlp.ground.name] == (
        "filter_response, global_response: left out, because each needs positions",
    )
    assert [variant.name for variant in cnn.variants] == ["none", "filter_response", "global_response"]
    assert prepared.notes[cnn.ground.name] == ("scale: left out, because it takes rows of features",)


def test_a_batch_that_is_one_ghost_is_noted() -> None:
    def notes(norm: str) -> tuple[str, ...]:
        prepared = prepare(question(variants=both(norm), batch_sizes=(16,)))
        return prepared.notes[prepared.plans[0].ground.name]

    assert notes("ghost") == (
        "ghost: a batch of 16 is one ghost, so that it trains as Batch Normalization does; name a smaller ghost, as "
        "in ghost:4",
    )
    assert notes("ghost:8") == ()


def test_settings_are_named_by_what_they_differ_in() -> None:
    prepared = prepare(question(variants=both("layer"), depths=(2, 3), batch_sizes=(8, 16)))
    names = [prepared.name_of(plan) for plan in prepared.plans]
    assert names == [
        "mlp, depth 2, batch 8",
        "mlp, depth 2, batch 16",
        "mlp, depth 3, batch 8",
        "mlp, depth 3, batch 16",
    ]


@pytest.mark.parametrize(
    ("variants", "subject"),
    [
        (both("layer"), "normalization"),
        (({"norm": "none"}, {"norm": "none", "dropout": 0.2}), "regularization"),
        (({"norm": "none"}, {"norm": "layer", "l2": 0.01}), "normalization or regularization"),
    ],
)
def test_the_question_names_what_varies(variants: tuple[dict[str, Any], ...], subject: str) -> None:
    assert f"what does {subject} do for" in prepare(question(variants=variants)).question


def test_checking_leaves_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    prepare(question())
    assert torch.equal(torch.get_rng_state(), state)
