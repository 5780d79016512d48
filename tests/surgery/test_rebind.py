"""An optimizer goes on with a converted model: references, state, groups."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise.errors import ArgumentError
from normwise.results.codec import dumps, loads
from normwise.results.edits import Edits
from normwise.surgery import convert

Optimizer = Callable[..., torch.optim.Optimizer]

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    "sgd, no momentum": lambda params: torch.optim.SGD(params, lr=0.1),
    "adam": lambda params: torch.optim.Adam(params, lr=0.01, amsgrad=True),
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.01),
    "sgdw": lambda params: nw.SGDW(params, lr=0.1, momentum=0.9),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def bound(optimizer: torch.optim.Optimizer) -> list[list[Tensor]]:
    return [list(group["params"]) for group in optimizer.param_groups]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("target", ["group:4", "rms", "dynamic_tanh"])
def test_references_and_state_go_over(name: str, target: str) -> None:
    x = torch.randn(9, 6)
    old = network()
    optimizer = OPTIMIZERS[name](old.parameters())
    step(old, optimizer, x)
    states = {n: dict(optimizer.state[p]) for n, p in old.named_parameters() if p in optimizer.state}
    new, edits = convert(old, "batch", target, data=x)
    record = edits.rebind(optimizer)
    wanted = dict(new.named_parameters())
    assert {id(p) for p in bound(optimizer)[0]} == {id(p) for p in wanted.values()}
    assert len(bound(optimizer)[0]) == len(wanted)
    assert new[1].weight is not old[1].weight
    for parameter_name, parameter in wanted.items():
        now = optimizer.state.get(parameter, {})
        before = {} if parameter_name == "1.alpha" else states.get(parameter_name, {})
        assert now.keys() == before.keys()
        assert all(now[key] is before[key] for key in before)
    assert {id(p) for p in optimizer.state} <= {id(p) for p in wanted.values()}
    # The parts that are not there any more, or are new, are named.
    said = {edit.name: edit.after for edit in record}
    assert said["1.weight"] == "another in group 0"
    assert said.get("1.bias") == ("" if target == "rms" else "another in group 0")
    assert ("1.alpha" in said) is (target == "dynamic_tanh")
    before_second = bound(optimizer)
    assert not edits.rebind(optimizer).changed
    assert all(a is b for a, b in zip(before_second[0], bound(optimizer)[0], strict=True))
    values = [p.detach().clone() for p in new.parameters()]
    step(new, optimizer, x)
    moved = [not torch.equal(a, b) for a, b in zip(values, new.parameters(), strict=True)]
    assert all(moved)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_nothing_had_been_done(name: str) -> None:
    """A conversion that changes no more than the class: the same steps."""
    x = torch.randn(9, 6)
    steps = []
    for replaced in (False, True):
        model: nn.Module = network()
        optimizer = OPTIMIZERS[name](model.parameters())
        for _ in range(3):
            step(model, optimizer, x)
        if replaced:
            model, edits = convert(model, "batch", "masked")
            edits.rebind(optimizer)
        for _ in range(3):
            step(model, optimizer, x)
        steps.append([p.detach() for p in model.parameters()])
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-10, atol=1e-12)


def test_new_parameters_join_the_group_of_their_layer() -> None:
    old = network()
    optimizer = torch.optim.AdamW(nw.parameter_groups(old, 0.1))
    new, edits = convert(old, "batch", "dynamic_tanh")
    edits.rebind(optimizer)
    assert any(new[1].alpha is p for p in optimizer.param_groups[1]["params"])
    assert not any(new[1].alpha is p for p in optimizer.param_groups[0]["params"])


@pytest.mark.parametrize("inplace", [False, True])
def test_new_parameters_come_in_the_order_of_the_model(inplace: bool) -> None:
    torch.manual_seed(0)
    old = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    optimizer, x = torch.optim.Adam(old.parameters()), torch.randn(8, 4)
    step(old, optimizer, x)
    new, edits = convert(old, "batch", "dynamic_tanh", data=[x], inplace=inplace)
    for _ in range(2):
        edits.rebind(optimizer)
        assert [id(p) for p in bound(optimizer)[0]] == [id(p) for p in new.parameters()]
    step(new, optimizer, x)
    # As a run is resumed: by number, so that another order would give moments to others, silently.
    resumed = torch.optim.Adam(new.parameters())
    resumed.load_state_dict(optimizer.state_dict())
    for parameter in new.parameters():
        torch.testing.assert_close(resumed.state[parameter], optimizer.state[parameter], rtol=0, atol=0)


def test_a_group_in_another_order_keeps_it() -> None:
    old = network()
    (first, second), norm = (list(old[place].parameters()) for place in (0, 3)), list(old[1].parameters())
    optimizer = torch.optim.SGD([{"params": [*second, *first]}, {"params": norm[::-1]}], lr=0.1)
    new, edits = convert(old, "batch", "dynamic_tanh")
    edits.rebind(optimizer)
    expected = [[*second, *first], [new[1].bias, new[1].alpha, new[1].weight]]
    assert [[id(p) for p in group] for group in bound(optimizer)] == [
        [id(p) for p in group] for group in expected
    ]


def test_what_is_not_trained_is_not_added() -> None:
    old = network()
    optimizer = torch.optim.SGD([*old[0].parameters(), *old[3].parameters()], lr=0.1)
    _, edits = convert(old, "batch", "dynamic_tanh")
    assert not edits.rebind(optimizer).changed
    assert len(bound(optimizer)[0]) == 4


def test_in_place_nothing_need_be_moved() -> None:
    x = torch.randn(9, 6)
    model = network()
    weight = model[1].weight
    optimizer = torch.optim.Adam(model.parameters())
    step(model, optimizer, x)
    before = weight.detach().clone()
    _, edits = convert(model, "batch", "layer", data=x, inplace=True)
    assert model[1].weight is weight
    assert not torch.equal(before, weight)
    assert not edits.rebind(optimizer).changed


def test_a_state_of_another_shape_begins_anew() -> None:
    old = nn.Sequential(nn.LayerNorm((4, 5, 5)))
    x = torch.randn(3, 4, 5, 5)
    optimizer = torch.optim.Adam(old.parameters())
    step(old, optimizer, x)
    new, edits = convert(old, "layer", "group:2", example=x)
    record = edits.rebind(optimizer)
    assert "begins anew" in record["0.weight"].why
    assert not optimizer.state
    step(new, optimizer, x)
    assert optimizer.state[new[0].weight]["exp_avg"].shape == (4,)


def test_names_of_parameters_follow() -> None:
    old = network()
    optimizer = torch.optim.SGD(old.named_parameters(), lr=0.1)
    new, edits = convert(old, "batch", "dynamic_tanh", data=torch.randn(9, 6))
    edits.rebind(optimizer)
    (group,) = optimizer.param_groups
    named = dict(zip(group["param_names"], group["params"], strict=True))
    assert {name: id(p) for name, p in named.items()} == {n: id(p) for n, p in new.named_parameters()}
    # What was saved before is loaded by position, and there is one more now.
    assert len(optimizer.state_dict()["param_groups"][0]["params"]) == 7


def test_attributes_of_a_parameter_go_along() -> None:
    old = network()
    old[1].weight._no_weight_decay = True
    new, _ = convert(old, "batch", "layer", data=torch.randn(9, 6))
    assert new[1].weight is not old[1].weight
    assert new[1].weight._no_weight_decay


def test_others_are_refused() -> None:
    old = network()
    _, edits = convert(old, "batch", "rms")
    other = torch.optim.SGD(network().parameters(), lr=0.1)
    before = bound(other)
    with pytest.raises(ArgumentError, match="one of the model that was converted"):
        edits.rebind(other)
    assert all(a is b for a, b in zip(before[0], bound(other)[0], strict=True))
    with pytest.raises(ArgumentError, match=r"must be a torch\.optim\.Optimizer.*Sequential"):
        edits.rebind(old)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"a LBFGS that keeps them in `_params`"):
        edits.rebind(torch.optim.LBFGS(old.parameters()))
    # What came from a copy or a file knows no parameters.
    with pytest.raises(ArgumentError, match="one of the model that was converted"):
        copy.deepcopy(edits).rebind(torch.optim.SGD(old.parameters(), lr=0.1))


def test_the_record_is_a_plain_one() -> None:
    _, edits = convert(network(), "batch", "rms")
    assert isinstance(edits, Edits)
    assert loads(dumps(Edits(edits.operation, edits.entries, edits.notes)), Edits).entries == edits.entries
    assert dumps(edits) == dumps(Edits(edits.operation, edits.entries, edits.notes))
    assert copy.deepcopy(edits) == edits
