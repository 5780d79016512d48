import itertools
from typing import Any

import pytest

from normwise.compare.network_spec import Network, NetworkKind
from normwise.compare.spec import LEARNING_RATES, Spec, make_spec
from normwise.compare.variant import NORMS, product
from normwise.errors import ArgumentError, UnknownNameError
from normwise.norms import KINDS


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lrs": (0.1, 0.0)}, ["`lrs` (--lr)", "positive"]),
        ({"lrs": (-0.1,)}, ["--lr", "positive"]),
        ({"lrs": (float("nan"),)}, ["--lr", "finite"]),
        ({"lrs": ()}, ["--lr"]),
        ({"batch_sizes": (0,)}, ["--batch-size", "at least 1"]),
        ({"batch_sizes": ()}, ["--batch-size", "at least one"]),
        ({"depths": (0,)}, ["--depth", "at least 1"]),
        ({"steps": 0}, ["steps", "Got 0"]),
        ({"steps": 5, "epochs": 1.0}, ["`steps` or `epochs`, not both"]),
        ({"epochs": float("inf")}, ["epochs", "finite"]),
        ({"margin": float("nan")}, ["margin", "Got nan"]),
        ({"goal": float("nan")}, ["goal", "finite"]),
        ({"seeds": 0}, ["seeds"]),
        ({"initializations": ({"scheme": "he", "scale": -1.0},)}, ["--init", "greater than 0"]),
        ({"depths": (100_000,)}, ["--depth", "512"]),
        ({"networks": ({"kind": "mlp", "depth": 3},)}, ["`networks` has no field 'depth'"]),
        ({"networks": ({"kind": "mlp", "widths": (0,)},)}, ["--width", "1 to 16,384"]),
        ({"variants": ({"dropout": 1.0},)}, ["--dropout", "less than 1"]),
        ({"variants": ({"norm": "batch:4"},)}, ["batch takes no number"]),
        ({"variants": ({"norm": "group:0"},)}, ["--norm", "must count groups, at least 1"]),
        ({"variants": ({"norm": "ghost:x"},)}, ["--norm", "must count samples a ghost, at least 1"]),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_option(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        make_spec(fields)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("fields", "near"),
    [
        ({"variants": ({"norm": "bacth"},)}, "Did you mean 'batch'"),
        ({"variants": ({"norm": "gost:16"},)}, "Did you mean 'ghost'"),
        ({"variants": ({"norm": "conditional"},)}, "scale, spectral, standardized, switchable, weight."),
        ({"variants": ({"augment": ("rotat:5",)},)}, "Did you mean 'rotate'"),
        ({"initializations": ({"scheme": "xavjer"},)}, "Did you mean 'xavier'"),
        ({"activation": "rleu"}, "Did you mean 'relu'"),
        ({"networks": ({"kind": "mlp", "activation": "tan"},)}, "'tanh'"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_ones(fields: dict[str, Any], near: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        make_spec(fields)
    assert near in str(caught.value)


def test_an_unknown_field_is_told_with_the_nearest_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown field 'seed'") as caught:
        make_spec({"seed": 3})
    assert "'seeds'" in str(caught.value)
    with pytest.raises(UnknownNameError, match="Did you mean 'batch_sizes'"):
        make_spec({"batch_size": 3})


def test_a_question_survives_json() -> None:
    spec = make_spec({"variants": product(norms=("none", "group:4"), dropouts=(0.0, 0.2)), "lrs": (1.0, 0.1)})
    assert spec.lrs == (0.1, 1.0)
    assert Spec.model_validate_json(spec.model_dump_json()) == spec


def test_the_identity_is_that_of_the_question_and_its_data_without_the_number_of_seeds() -> None:
    spec = make_spec({"data": "wine"})
    assert spec.identity("a") == make_spec({"data": "wine", "seeds": 20}).identity("a")
    others = [{"data": "digits"}, {"data": "wine", "steps": 7}, {"data": "wine", "scan_seeds": 3}]
    names = {spec.identity("a"), spec.identity("b"), *(make_spec(other).identity("a") for other in others)}
    assert len(names) == 5


def test_every_normalization_that_fits_is_the_default() -> None:
    spec = make_spec({})
    assert [v.name for v in spec.variants_for("cnn")] == list(NORMS)
    assert [v.name for v in spec.variants_for("mlp")] == [norm for norm in NORMS if norm != "instance"]
    assert NORMS == ("none", "batch", "layer", "group", "instance", "rms", "weight")
    for rates in LEARNING_RATES.values():
        assert len(rates) >= 3
        assert all(b / a == pytest.approx(10) for a, b in itertools.pairwise(rates))
    assert len({init.scale for init in spec.initializations}) == 2
    assert spec.seeds == 5


@pytest.mark.parametrize("kind", ["mlp", "cnn", "model"])
def test_what_does_not_fit_a_network_is_left_out_of_its_variants(kind: NetworkKind) -> None:
    every = [variant.name for variant in make_spec({"norms": list(KINDS)}).variants_for(kind)]
    images = {
        *("instance", "filter_response", "evonorm_b0", "evonorm_s0", "global_response", "local_response"),
    }
    missing = {"mlp": images, "cnn": {"scale"}, "model": set()}[kind]
    assert every == [name for name in KINDS if name not in missing]


def test_the_baseline_is_the_plain_network_else_the_first_else_the_one_asked_for() -> None:
    assert make_spec({}).baseline_for("mlp") == "none"
    pair = product(norms=("batch", "layer"))
    assert make_spec({"variants": pair}).baseline_for("mlp") == "batch"
    assert make_spec({"variants": pair, "baseline": "layer"}).baseline_for("mlp") == "layer"
    with pytest.raises(UnknownNameError, match="Did you mean 'layer'"):
        make_spec({"variants": pair, "baseline": "lyaer"}).baseline_for("mlp")


def test_depth_repeats_the_last_width_or_cuts() -> None:
    network = Network(kind="mlp", widths=(32, 16))
    assert network.at_depth(4).widths == (32, 16, 16, 16)
    assert network.at_depth(1).widths == (32,)
    assert network.at_depth(None) is network
    assert Network(kind="cnn", channels=(4, 8)).at_depth(3).channels == (4, 8, 8)


def test_a_variant_or_network_given_twice_is_one() -> None:
    spec = make_spec(
        {
            "variants": ({"norm": "batch"}, {"norm": "none"}, {"norm": "batch"}),
            "networks": ({"kind": "mlp"},) * 2,
        }
    )
    assert [variant.name for variant in spec.variants or ()] == ["batch", "none"]
    assert len(spec.networks) == 1


def test_two_networks_of_one_kind_are_refused_because_their_settings_would_share_a_name() -> None:
    with pytest.raises(ArgumentError, match=r"--network.*each kind of network once"):
        make_spec({"networks": ({"kind": "mlp", "widths": (8,)}, {"kind": "mlp", "widths": (16,)})})


def test_variants_that_differ_and_share_a_name_are_refused() -> None:
    with pytest.raises(ArgumentError, match="two variants named 'none'"):
        make_spec({"variants": ({"norm": "none"}, {"norm": "none", "position": "after"})})
