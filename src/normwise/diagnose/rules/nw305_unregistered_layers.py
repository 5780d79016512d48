"""Layers in a plain list or dict, where torch does not see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.results.diagnosis import Evidence


def _check(facts: Facts) -> Iterator[Found]:
    model = facts.subject.model
    known = {id(each) for each in (*model.modules(), *model.parameters())}
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute.startswith("_") or not isinstance(value, list | tuple | dict):
                continue
            lost = [each for each in _inside(value) if id(each) not in known and _trains(each)]
            if lost:
                yield _found(name, attribute, value, lost)


def _inside(value: Any) -> Iterable[Any]:
    """What lists, tuples and dicts hold, however deep."""
    if isinstance(value, list | tuple | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _inside(each)
    else:
        yield value


def _trains(each: Any) -> bool:
    """Whether it is a parameter, or a layer with some."""
    if isinstance(each, nn.Module):
        return next(each.parameters(), None) is not None
    return isinstance(each, nn.Parameter)


def _found(name: str, attribute: str, value: Any, lost: list[Any]) -> Found:
    kind = "dict" if isinstance(value, dict) else "list"
    layers = isinstance(lost[0], nn.Module)
    holder = f"nn.{'Module' if layers else 'Parameter'}{kind.title()}"
    what = ("layer" if layers else "parameter") + ("s" if len(lost) > 1 else "")
    count = sum(sum(p.numel() for p in _parameters(each)) for each in lost)
    return Found(
        name,
        f"`self.{attribute}` keeps {len(lost)} {what} in a plain {type(value).__name__}, where `parameters()` does not "
        "find them: they are not trained, moved or saved",
        0.98,
        (Evidence("parameters that nobody knows of", float(count), "0"),),
        remedy=f"keep them in a {holder}",
        code_lines=(f"self.{attribute} = {holder}(self.{attribute})",),
    )


def _parameters(each: Any) -> Iterable[Tensor]:
    return each.parameters() if isinstance(each, nn.Module) else (each,)


RULE = Rule(
    code="NW305",
    name="unregistered-layers",
    summary="Layers or parameters in a plain list or dict, which torch does not look into.",
    why=(
        "`parameters()` finds what is an attribute of a module, or in a ModuleList, ModuleDict or ParameterList. What "
        "it does not find no optimizer trains, `.to(device)` leaves where it is, and no checkpoint has."
    ),
    bad="self.blocks = [nn.Linear(64, 64) for _ in range(4)]",
    good="self.blocks = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))",
    check=_check,
    explains=frozenset({"NW507", "NW509", "NW505"}),
    source="torch.nn.ModuleList; Nikanjam et al. 2021, NeuraLint",
)
