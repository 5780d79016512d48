"""What to do: one variant of a setting, on the strength of its claims, and its code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from normwise.compare.analysis.evidence import Evidence
from normwise.compare.snippets import snippets
from normwise.compare.variant import Variant
from normwise.results import Claim, ClaimName, Recommendation

_REGULARIZING: dict[ClaimName, str] = {"regularizes": "shows a smaller gap between train and test"}
"""What counts, beside the test metric, where regularizers are asked about."""

_TRAINING: dict[ClaimName, str] = {
    "faster": "reaches the target in fewer steps",
    "larger_learning_rates": "tolerates larger learning rates",
    "initialization": "depends less on the initialization",
}


def recommend(
    evidence: Evidence,
    claims: Sequence[Claim],
    *,
    margin: float,
    in_shape: tuple[int, ...],
    out_features: int,
    classes: tuple[str, ...],
) -> Recommendation | None:
    """The variant that is decided to be better on test; else the one decided to train better; else the baseline.

    A variant decided to be worse on test is never recommended, nor for its training one that is decided to be slower
    or that looks worse on test by more than the margin: nobody wants to train well towards a worse network. Among
    those that are left the larger decided effect wins, and without a decision in its favour no variant displaces the
    baseline. Of an exploratory run the same is read off the effects, and the reason says so.

    None where no fresh training of any variant has finished.
    """
    plan = evidence.plan
    ran = [v for v in plan.variants if _trained(evidence, v)]
    if not ran:
        return None
    table = {(claim.variant, claim.claim): claim for claim in claims}
    candidates = [v for v in ran if v != evidence.baseline and not _is(table, v, "generalizes", "no")]
    better = [v for v in candidates if _is(table, v, "generalizes", "yes")]
    merits = _REGULARIZING if plan.spec.study == "regularize" else _TRAINING
    trained = [
        v
        for v in candidates
        if any(_is(table, v, name, "yes") for name in merits)
        and not _is(table, v, "faster", "no")
        and _effect(table, v, "generalizes") >= -margin
    ]
    if evidence.exploratory:
        chosen, reason = _first_look(candidates, table, evidence)
    elif better:
        chosen = max(better, key=lambda v: (_effect(table, v, "generalizes"), _effect(table, v, "faster")))
        reason = f"better on test than {plan.baseline}"
    elif trained:
        first = next(iter(merits))
        chosen = max(trained, key=lambda v: (_benefits(table, v, merits), _effect(table, v, first)))
        won = [words for name, words in merits.items() if _is(table, chosen, name, "yes")]
        reason = f"{' and '.join(won)}, and is not shown to be worse on test"
    else:
        chosen = evidence.baseline if evidence.baseline in ran else ran[0]
        reason = (
            f"no other variant is shown to be better on test, or {_elsewhere(merits)} without looking worse on test"
            if any(claim.verdict == "yes" and claim.claim != "cost" for claim in claims)
            else "nothing is decided in favour of another variant"
        )
    lr, ground = evidence.tuning.tuned[chosen.name], plan.ground
    code = snippets(
        ground.network,
        chosen,
        plan.spec.initialization_of(chosen),
        in_shape=in_shape,
        out_features=out_features,
        task=evidence.measure.task,
        classes=classes,
        optimizer=ground.optimizer,
        lr=lr,
        batch_size=ground.batch_size,
        steps=ground.steps,
    )
    return Recommendation(chosen.name, lr, reason, code)


def _trained(evidence: Evidence, variant: Variant) -> bool:
    """Whether a fresh training finished, at a learning rate that was chosen on something."""
    finished = any(r is not None and r.outcome == "finished" for r in evidence.tuned(variant))
    scanned = evidence.scanned(variant, evidence.tuning.tuned[variant.name])
    return finished and any(
        r is not None and evidence.measure.final(r, "validation") is not None for r in scanned
    )


def _elsewhere(merits: Mapping[ClaimName, str]) -> str:
    return "to close the gap to it" if merits is _REGULARIZING else "to train better"


def _first_look(
    candidates: Sequence[Variant], table: dict[tuple[str, ClaimName], Claim], evidence: Evidence
) -> tuple[Variant, str]:
    promising = [v for v in candidates if _effect(table, v, "generalizes") > 0]
    chosen = max(promising, key=lambda v: _effect(table, v, "generalizes"), default=evidence.baseline)
    return chosen, "the best test metric of this first look, which decides nothing"


def _is(table: dict[tuple[str, ClaimName], Claim], variant: Variant, name: ClaimName, verdict: str) -> bool:
    claim = table.get((variant.name, name))
    return claim is not None and claim.verdict == verdict


def _effect(table: dict[tuple[str, ClaimName], Claim], variant: Variant, name: ClaimName) -> float:
    claim = table.get((variant.name, name))
    return 0.0 if claim is None or claim.effect.value is None else claim.effect.value


def _benefits(
    table: dict[tuple[str, ClaimName], Claim], variant: Variant, merits: Iterable[ClaimName]
) -> int:
    return sum(_is(table, variant, name, "yes") - _is(table, variant, name, "no") for name in merits)
