"""One function per claim: paired differences, then one rule for all of them (`stats.decide`)."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable

from normwise.compare.analysis.curves import first_signals, last_signals, slope
from normwise.compare.analysis.evidence import Evidence, Records, pairs
from normwise.compare.cost import cost_result
from normwise.compare.stats import Decision, decide, exponential, holm, restricted_log_ratio, sign_flip_p
from normwise.compare.variant import Variant
from normwise.results import Claim, ClaimName, Estimate, Interval, LayerSignals, TrialRecord, Verdict

SPEED_MARGIN = math.log(1.1)
"""A tenth more or fewer steps counts as no difference."""

COST_MARGIN = math.log(1.05)
RATE_MARGIN = 0.25
"""A quarter of a decade of learning rates counts as no difference."""

GRADIENT_MARGIN = math.log10(1.1)
"""A tenth per layer of the squared gradient counts as level."""

RATE_TOLERANCE = {"%": 1.0}
RATE_RELATIVE_TOLERANCE = 0.05
"""A learning rate is usable if it ends within one point (or 5 % of the error) of the variant's own best one."""


def claims(evidence: Evidence, margin: float) -> tuple[Claim, ...]:
    """Every claim for every variant but the baseline; sign-flip p-values adjusted within each claim."""
    found: list[Claim] = []
    for claim in (faster, larger_learning_rates, initialization, gradients, generalizes, regularizes, cost):
        lines = [
            claim(evidence, variant, margin)
            for variant in evidence.plan.variants
            if variant != evidence.baseline
        ]
        found += _with_holm(lines)
    return tuple(found)


def _with_holm(lines: list[Claim]) -> list[Claim]:
    tested = [line for line in lines if (line.evidence or {}).get("sign_flip_p") is not None]
    adjusted = holm([float((line.evidence or {})["sign_flip_p"] or 0.0) for line in tested])
    table = {line.variant: p for line, p in zip(tested, adjusted, strict=True)}
    return [
        dataclasses.replace(line, evidence=(line.evidence or {}) | {"holm_p": table[line.variant]})
        if line.variant in table
        else line
        for line in lines
    ]


def faster(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """Fewer steps to the target, each at its own tuned learning rate."""
    target = evidence.tuning.target
    if target is None:
        return _not_measured("faster", variant, "x", evidence.tuning.target_reason)
    tuned = _speed_up(
        evidence, evidence.tuned(evidence.baseline), evidence.tuned(variant), _steps_clock(evidence, target)
    )
    if tuned is None:
        return _not_measured("faster", variant, "x", "no pair of finished runs")
    decision, bound, missed_b, missed_v = tuned
    seconds = _speed_up(
        evidence, evidence.tuned(evidence.baseline), evidence.tuned(variant), _seconds_clock(evidence, target)
    )
    fixed = _speed_up(
        evidence, evidence.fixed(evidence.baseline), evidence.fixed(variant), _steps_clock(evidence, target)
    )
    quickest_b, quickest_v = evidence.fastest(evidence.baseline), evidence.fastest(variant)
    quickest = (
        None
        if quickest_b is None or quickest_v is None
        else _speed_up(evidence, quickest_b, quickest_v, _steps_clock(evidence, target))
    )
    verdict, reason = decision.verdict, ""
    # A run that missed the target is slower than its number says: it can take a "faster" away, never give it.
    if missed_v and verdict in ("yes", "no difference"):
        verdict, reason = "undecided", f"{missed_v} of {decision.pairs} runs never reached the target"
    elif missed_b and verdict in ("no", "no difference"):
        verdict, reason = (
            "undecided",
            f"{missed_b} of {decision.pairs} baseline runs never reached the target",
        )
    if missed_b == missed_v == decision.pairs:
        reason = "no run of either reached the target"
    more: dict[str, float | None] = {"baseline_missed": float(missed_b), "variant_missed": float(missed_v)}
    for name, result in (("seconds", seconds), ("fixed", fixed), ("fastest", quickest)):
        more[f"{name}_ratio"] = None if result is None else math.exp(result[0].mean)
        inside = None if result is None else exponential(result[0].interval)
        more[f"{name}_low"] = None if inside is None else inside.low
        more[f"{name}_high"] = None if inside is None else inside.high
    shown = bound if bound in ("at least", "at most") else ""
    return _claim(
        "faster",
        variant,
        decision,
        unit="x",
        ratio=True,
        bound=shown,
        verdict=verdict,
        reason=reason,
        baseline=_median_time(evidence, evidence.tuned(evidence.baseline), target),
        value=_median_time(evidence, evidence.tuned(variant), target),
        evidence=more,
    )


Clock = Callable[[TrialRecord], tuple[float | None, float]]
"""Time to the target (None where it was missed) and the length of the run."""


def _steps_clock(evidence: Evidence, target: float) -> Clock:
    return lambda record: (evidence.measure.steps_to(record, target), float(evidence.plan.ground.steps))


def _seconds_clock(evidence: Evidence, target: float) -> Clock:
    return lambda record: (evidence.measure.seconds_to(record, target), record.evaluations[-1].seconds)


def _speed_up(
    evidence: Evidence, baseline: Records, variant: Records, clock: Clock
) -> tuple[Decision, str, int, int] | None:
    paired = pairs(baseline, variant)
    if not paired:
        return None
    sides = [(clock(b), clock(v)) for b, v in paired]
    ratio = restricted_log_ratio(
        [b[0] for b, _ in sides], [v[0] for _, v in sides], [(b[1], v[1]) for b, v in sides]
    )
    decision = decide(ratio.differences, comparisons=evidence.comparisons, margin=SPEED_MARGIN)
    return decision, ratio.bound, ratio.baseline_missed, ratio.variant_missed


def _median_time(evidence: Evidence, records: Records, target: float) -> float | None:
    times = [evidence.measure.steps_to(record, target) for record in records if record is not None]
    middle = statistics.median(math.inf if time is None else time for time in times) if times else math.inf
    return None if math.isinf(middle) else middle


def larger_learning_rates(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """The largest learning rate that still ends near the variant's own best one, in decades, per scan seed."""
    grid = evidence.tuning.grid
    if len(grid) < 2:
        return _not_measured("larger_learning_rates", variant, "decades", "one learning rate shows no range")
    sides = []
    for i in range(len(evidence.plan.scan_seeds)):
        b, v = (_largest_usable(evidence, w, i) for w in (evidence.baseline, variant))
        if b is not None and v is not None:
            sides.append((b, v))
    if not sides:
        return _not_measured(
            "larger_learning_rates", variant, "decades", "no learning rate gave a finite result"
        )
    decision = decide([v - b for b, v in sides], comparisons=evidence.comparisons, margin=RATE_MARGIN)
    top = math.log10(grid[-1])
    base, mine = (statistics.median(side) for side in zip(*sides, strict=True))
    at_top = (base >= top, mine >= top)
    bound = {(False, True): "at least", (True, False): "at most"}.get(at_top, "")
    verdict, reason = decision.verdict, ""
    if all(at_top):
        verdict, reason = "undecided", "both still work at the largest learning rate tried"
    return _claim(
        "larger_learning_rates",
        variant,
        decision,
        unit="decades",
        bound=bound,
        verdict=verdict,
        reason=reason,
        baseline=10**base,
        value=10**mine,
    )


def _largest_usable(evidence: Evidence, variant: Variant, seed_index: int) -> float | None:
    """log10 of the learning rate, between grid points where the metric (linear over log lr) leaves the tolerance."""
    sign, grid = evidence.measure.sign, evidence.tuning.grid
    scores: list[float | None] = []
    for lr in grid:
        record = evidence.scanned(variant, lr)[seed_index]
        value = None if record is None else evidence.measure.settled(record, "validation")
        scores.append(None if value is None else sign * value)
    known = [score for score in scores if score is not None]
    if not known:
        return None
    best = max(known)
    tolerance = RATE_TOLERANCE.get(evidence.measure.unit, RATE_RELATIVE_TOLERANCE * abs(best))
    usable = best - tolerance
    for i in reversed(range(len(grid))):
        score = scores[i]
        if score is None or score < usable:
            continue
        here = math.log10(grid[i])
        following = scores[i + 1] if i + 1 < len(grid) else None
        if following is None:
            return here
        return here + (score - usable) / (score - following) * (math.log10(grid[i + 1]) - here)
    return None


def initialization(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """Standard deviation of the test metric over initialisations, per seed; a smaller one is better."""
    others = evidence.plan.spec.initializations
    unit = evidence.measure.difference_unit
    if len(others) < 2:
        return _not_measured("initialization", variant, unit, "one initialization shows no spread")
    if _nothing_trained(pairs(evidence.tuned(evidence.baseline), evidence.tuned(variant))):
        return _not_measured("initialization", variant, unit, "every run of both diverged")
    base, mine = (_spreads(evidence, w) for w in (evidence.baseline, variant))
    both = [(b, v) for b, v in zip(base, mine, strict=True) if b is not None and v is not None]
    if not both:
        return _not_measured("initialization", variant, unit, "no pair of finished runs")
    decision = decide([b - v for b, v in both], comparisons=evidence.comparisons, margin=margin)
    return _claim(
        "initialization",
        variant,
        decision,
        unit=unit,
        baseline=statistics.median(b for b, _ in both),
        value=statistics.median(v for _, v in both),
    )


def _spreads(evidence: Evidence, variant: Variant) -> list[float | None]:
    by_init = [evidence.tuned(variant, init) for init in evidence.plan.spec.initializations]
    spreads: list[float | None] = []
    for seed_records in zip(*by_init, strict=True):
        values = [None if r is None else evidence.measure.settled(r, "test") for r in seed_records]
        known = [value for value in values if value is not None]
        spreads.append(statistics.stdev(known) if len(known) == len(values) else None)
    return spreads


def gradients(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """How far the gradient is from level over depth before training, in decades per layer, over all initialisations.

    Distance from level counts in both directions: a gradient that grows towards the input is as far off as one that
    fades.
    """
    base, mine = (_departures(evidence, w) for w in (evidence.baseline, variant))
    both = [(b, v) for b, v in zip(base, mine, strict=True) if b is not None and v is not None]
    if not both:
        return _not_measured(
            "gradients", variant, "decades per layer", "a slope needs three hidden layers with a gradient"
        )
    decision = decide([b - v for b, v in both], comparisons=evidence.comparisons, margin=GRADIENT_MARGIN)
    more: dict[str, float | None] = {}
    for who, name in ((evidence.baseline, "baseline"), (variant, "variant")):
        for init in evidence.plan.spec.initializations:
            records = evidence.tuned(who, init)
            more[f"{name}_start {init.name}"] = _mean_slope(records, first_signals)
            more[f"{name}_end {init.name}"] = _mean_slope(records, last_signals)
    return _claim(
        "gradients",
        variant,
        decision,
        unit="decades per layer",
        baseline=statistics.fmean(b for b, _ in both),
        value=statistics.fmean(v for _, v in both),
        evidence=more,
    )


def _departures(evidence: Evidence, variant: Variant) -> list[float | None]:
    by_init = [evidence.tuned(variant, init) for init in evidence.plan.spec.initializations]
    departures: list[float | None] = []
    for seed_records in zip(*by_init, strict=True):
        factors = [None if r is None else slope(first_signals(r), r.sizes) for r in seed_records]
        logs = [abs(math.log10(factor)) for factor in factors if factor is not None]
        departures.append(statistics.fmean(logs) if len(logs) == len(factors) else None)
    return departures


def _mean_slope(records: Records, when: Callable[[TrialRecord], LayerSignals | None]) -> float | None:
    found = [slope(when(record), record.sizes) for record in records if record is not None]
    known = [math.log(factor) for factor in found if factor is not None]
    return math.exp(statistics.fmean(known)) if known else None


def generalizes(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """The test metric, each at its tuned learning rate."""
    sign = evidence.measure.sign
    return _paired_metric(
        "generalizes", evidence, variant, margin, lambda r: evidence.measure.settled(r, "test"), sign
    )


def regularizes(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """The gap between train and test; a smaller one is "better" here, whatever the test metric does."""
    return _paired_metric("regularizes", evidence, variant, margin, lambda r: gap_of(evidence, r), -1)


def gap_of(evidence: Evidence, record: TrialRecord) -> float | None:
    """Train minus test, signed so that positive is overfitting."""
    train, test = (evidence.measure.settled(record, part) for part in ("train", "test"))
    return None if train is None or test is None else evidence.measure.sign * (train - test)


def _nothing_trained(found: list[tuple[TrialRecord, TrialRecord]]) -> bool:
    """Whether there is no run to compare but untrained networks with untrained networks."""
    return bool(found) and all(r.outcome == "diverged" for pair in found for r in pair)


def _paired_metric(
    claim: ClaimName,
    evidence: Evidence,
    variant: Variant,
    margin: float,
    read: Callable[[TrialRecord], float | None],
    sign: int,
) -> Claim:
    unit = evidence.measure.difference_unit
    found = pairs(evidence.tuned(evidence.baseline), evidence.tuned(variant))
    if _nothing_trained(found):
        return _not_measured(claim, variant, unit, "every run of both diverged")
    sides = [(read(b), read(v)) for b, v in found]
    both = [(b, v) for b, v in sides if b is not None and v is not None]
    if not both:
        return _not_measured(claim, variant, unit, "no pair of finished runs")
    decision = decide([sign * (v - b) for b, v in both], comparisons=evidence.comparisons, margin=margin)
    return _claim(
        claim,
        variant,
        decision,
        unit=unit,
        baseline=statistics.fmean(b for b, _ in both),
        value=statistics.fmean(v for _, v in both),
    )


def cost(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """Time of a training step, burst by burst; "yes" means that it costs more."""
    of = dict(zip(evidence.cost.variants, evidence.cost.bursts, strict=True))
    baseline = of[evidence.plan.baseline]
    logs = [math.log(v / b) for v, b in zip(of[variant.name], baseline, strict=True)]
    decision = decide(logs, comparisons=evidence.comparisons, margin=COST_MARGIN)
    result = cost_result(evidence.cost, variant.name, evidence.plan.baseline)
    reference = cost_result(evidence.cost, evidence.plan.baseline, evidence.plan.baseline)
    return _claim(
        "cost",
        variant,
        decision,
        unit="x",
        ratio=True,
        baseline=reference.milliseconds,
        value=result.milliseconds,
    )


def _claim(
    claim: ClaimName,
    variant: Variant,
    decision: Decision,
    *,
    unit: str,
    ratio: bool = False,
    bound: str = "",
    verdict: Verdict | None = None,
    reason: str = "",
    baseline: float | None = None,
    value: float | None = None,
    evidence: dict[str, float | None] | None = None,
) -> Claim:
    """Put a decision into a line; `ratio` says that differences were of logarithms."""
    final = verdict or decision.verdict
    mean, interval, family = decision.mean, decision.interval, decision.family_interval
    if ratio:
        mean, interval, family = math.exp(mean), exponential(interval), exponential(family)
    detectable = decision.smallest_detectable
    if detectable is not None and ratio:
        detectable = math.exp(detectable)
    return Claim(
        claim=claim,
        variant=variant.name,
        verdict=final,
        strength=decision.strength if final == decision.verdict else "",
        effect=Estimate(mean, interval, decision.pairs, unit, bound),
        baseline_value=baseline,
        variant_value=value,
        evidence={
            "probability_of_superiority": decision.superiority,
            "superiority_low": decision.superiority_interval.low,
            "superiority_high": decision.superiority_interval.high,
            "family_low": family.low,
            "family_high": family.high,
            "sign_flip_p": sign_flip_p(decision.differences),
        }
        | (evidence or {}),
        smallest_detectable=detectable,
        seeds_needed=decision.seeds_needed,
        reason=reason,
    )


def _not_measured(claim: ClaimName, variant: Variant, unit: str, reason: str) -> Claim:
    nothing = Estimate(None, Interval(None, None), 0, unit)
    return Claim(claim, variant.name, "not measured", "", nothing, reason=reason)
