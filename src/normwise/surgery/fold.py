"""Norms that are fixed in evaluation taken into the weights of the layers before or behind them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from normwise.errors import ArgumentError, explain
from normwise.graph import trace
from normwise.layers.bake_weights import bake_weights_
from normwise.results.edits import Edit, Edits
from normwise.surgery._copy import copied
from normwise.surgery._fold_apply import Script, apply, drop, droppable, perform
from normwise.surgery._fold_check import Check, DisagreementError, RoundingError
from normwise.surgery._fold_known import norms_of
from normwise.surgery._fold_plan import Fold, Planner
from normwise.surgery._fold_weights import UnfoldableError
from normwise.surgery._survey import Survey, check_model
from normwise.surgery._twins import describe

_BORDERS = ("pad", "refuse")
_TRIALS = 40  # comparisons, at most, to find which norms to leave where not all can be folded


def fold(
    model: nn.Module,
    example: Any,
    *,
    border: str = "pad",
    keep_places: bool = False,
    tolerance: float | None = None,
    inplace: bool = False,
) -> tuple[nn.Module, Edits]:
    """Take norms with running statistics into the layers beside them, for evaluation: fewer modules, same outputs.

    ``norm(x) = s·x + t`` per channel, with ``s = weight / sqrt(running_var + eps)`` and ``t = bias − running_mean·s``.

    - Behind Linear, Conv and ConvTranspose 1d to 3d (grouped, dilated, with any padding): ``s·W`` and ``s·b + t``.
    - Before Linear and Conv: ``W·s`` and ``b + W·t``; exact without padding, and where padding repeats inputs. Before
      zeros as padding, the norm's place pads with ``−t/s``, which it mapped to zero (`border`), also where t is 0: a
      fold of fresh weights takes the state_dict of any other. Before a transposed convolution only where that has one
      tap, or t is 0.
    - Before another such norm, which then does both.

    Norms are torch's and normwise's batch normalizations, plain, fused, ghost, renormalized, mean-only, frozen and
    synchronized; instance normalizations that use running statistics; frozen ones of torchvision, timm, detectron2 and
    transformers. What a fused one does after its norm stays at its place, as a plain module. Parametrized weights
    (weight, spectral, standardized, …) are baked all over the model, see `bake_weights_`.

    What is folded is read from one forward pass on the example: each call of the layer must feed a call of the norm,
    and nobody else may see, keep or write what lies between. Paths that the example does not take are not seen. The
    rest is left alone, with the reason in the record. Then the model is compared with what it was, in evaluation, on
    the example, on random inputs and in batches of 1 and of one more: in float64 no output may differ by more than
    1e-10 of the largest one, in float32 by 1e-5, and in 16 bits it may be twice as far from float64 as it was, or 8
    ulps. Norms with which the first does not hold are left alone.

    Folded parameters are new, computed in float64 and rounded once; all others are the given model's own. A norm's
    place keeps an `nn.Identity`, or leaves a `Sequential` that is only called as a whole: names stay, positions behind
    it move up.

    Args:
        model: any module in evaluation mode; a norm in training mode is left alone.
        example: a batch as the model takes it: a tensor, a tuple of arguments, or a dict of named ones.
        border: "pad" or "refuse", for norms before convolutions that pad with zeros.
        keep_places: let an `nn.Identity` stand at every place, also in a `Sequential`.
        tolerance: of the comparison in the model's own dtype; None as above.
        inplace: change this model, instead of a copy of its structure; only after the comparison.

    Returns:
        The model, and what was folded and what was left alone and why. `unfold` puts norms back for training.

    Raises:
        ArgumentError: (a ValueError) no module, or a compiled or scripted one; an unknown border; the model does not
            run on the example, cannot be copied, gives nothing finite, or rounds so much in its own dtype that the
            comparison fails there. It is as it was.

    Source: Jacob et al. 2018, section 3.2, for the fold behind a convolution.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> folded, edits = fold(model, torch.randn(2, 3, 8, 8))
    >>> folded
    Sequential(
      (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
      (2): ReLU()
    )
    >>> edits["1"].why
    'in `0`'
    """
    check_model("fold", model)
    if border not in _BORDERS:
        raise ArgumentError(explain("fold", "`border` must be 'pad' or 'refuse'", repr(border)))
    trace(model, example, who="fold")  # before all else, for its messages
    folding = _Folding(model, example, border, keep_places, not inplace)
    check = Check("fold", model, example, tolerance)
    work = folding.attempt()
    errors: dict[str, float] = {}
    if not folding.nothing:
        try:
            try:
                errors = check(folding.change)
            except DisagreementError as error:
                work, errors = _admitted(folding, check, str(error))
        except (DisagreementError, RoundingError) as error:
            must = "the folded model must give what the given one gives"
            hint = "set `tolerance` above that, or give the model in float64"
            raise ArgumentError(explain("fold", must, str(error), hint)) from error
    result = perform(model, folding.script) if inplace else work
    return result, folding.edits(result, errors)


@dataclass
class _Folding:
    """All rounds on a copy, and what came of them."""

    model: nn.Module
    example: Any
    border: str
    keep_places: bool
    strict: bool
    script: Script = field(default_factory=Script)
    reasons: dict[str, str] = field(default_factory=dict)
    banned: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before = {name: describe(module) for name, module in self.model.named_modules()}
        self.looked_at = list(norms_of(self.model))
        self.baked: tuple[str, ...] = ()

    @property
    def norms(self) -> set[str]:
        """The folded norms."""
        return {fold.norm for fold in self.script.folds}

    @property
    def nothing(self) -> bool:
        """Whether the model stays as it is."""
        return not self.script.folds and not self.baked

    def ban(self, reasons: dict[str, str]) -> None:
        """Let norms stay."""
        self.banned.update(reasons)

    def attempt(self, only: Iterable[str] | None = None) -> nn.Module:
        """Plan and fold, round by round, on a new copy; keep the script, and the reasons for what stays."""
        work = copied(self.model, "fold") if self.strict else _twin(self.model)
        self.baked = bake_weights_(work)
        banned = dict(self.banned)
        if only is not None:
            banned |= dict.fromkeys(set(self.looked_at) - set(only), "")
        folds: list[Fold] = []
        places: list[str] = []
        while True:
            survey = Survey(work)
            try:
                graph = trace(work, self.example, who="fold")
            except ArgumentError:
                if not folds:
                    raise
                break  # a place that was more than called: the comparison will find which
            planned, self.reasons = Planner(survey, graph, self.border, banned).plan()
            if not planned:
                break
            for each in planned:
                try:
                    place = apply(work, each)
                except UnfoldableError as error:
                    banned[each.norm] = str(error)
                else:
                    folds.append(each)
                    places += [each.norm] if type(place) is nn.Identity else []
        dropped = [] if self.keep_places else [name for name in places if droppable(work, name)]
        for name in dropped:
            drop(work, name)
        self.script = Script(tuple(folds), tuple(dropped))
        return work

    def change(self, model: nn.Module) -> nn.Module:
        """The same on another copy."""
        return perform(model, self.script)

    def edits(self, result: nn.Module, errors: dict[str, float]) -> Edits:
        """The record."""
        into = {each.norm: each for each in self.script.folds}
        took: dict[str, list[str]] = {}
        for each in self.script.folds:
            for layer in each.layers:
                took.setdefault(layer, []).append(each.norm)
        now = {name: describe(module) for name, module in result.named_modules(remove_duplicate=False)}
        baked = {name.rpartition(".")[0] for name in self.baked}
        entries = []
        for name, before in self.before.items():
            if name in into:
                entries.append(Edit(name, before, now.get(name, ""), f"in {_listed(into[name].layers)}"))
            elif name in took:
                entries.append(
                    Edit(name, before, f"{now[name]}, folded", f"with {_listed(took[name])} in it")
                )
            elif name in self.reasons:
                entries.append(Edit(name, before, before, self.reasons[name]))
            elif name in baked:
                entries.append(
                    Edit(name, before, f"{now[name]}, baked", "its weight is a plain parameter now")
                )
        after = list(result.modules())
        empty = sum(type(module) is nn.Identity for module in after)
        count = f"modules: {len(self.before)} before, {len(after)} after"
        count += f", {empty} of them nn.Identity" if empty else ""
        measured = ", ".join(f"{error:.1e} in {dtype}" for dtype, error in errors.items())
        notes = (count, f"largest |Δ| over largest |y|: {measured}") if errors else (count,)
        return Edits("fold", tuple(entries), notes)


def _admitted(folding: _Folding, check: Check, why: str) -> tuple[nn.Module, dict[str, float]]:
    """Fold as many norms as the comparison allows, tried by halves; the others stay, with the reason.

    Raises:
        DisagreementError: without any of them, too, the models differ.
        RoundingError: it adds up; no norm is to blame more than another.
    """
    good: list[str] = []
    waiting = [(sorted(folding.norms), why)]
    for _ in range(_TRIALS):
        if not waiting:
            break
        norms, why = waiting.pop()
        if norms != sorted(folding.norms):
            folding.attempt([*good, *norms])
            try:
                check(folding.change)
            except DisagreementError as error:
                why = str(error)
            else:
                good += norms
                continue
        if len(norms) > 1:
            half = len(norms) // 2
            waiting += [(norms[half:], why), (norms[:half], why)]
        else:
            folding.ban({norms[0]: why})
    for norms, why in waiting:
        folding.ban(dict.fromkeys(norms, why))
    work = folding.attempt()
    return work, {} if folding.nothing else check(folding.change)


def _twin(model: nn.Module) -> nn.Module:
    """A copy over the same tensors, whoever else holds modules of it: to find out what to do to the model itself."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin: nn.Module = copy.deepcopy(model, memo)
    return twin


def _listed(names: Iterable[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
