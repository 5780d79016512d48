"""A paired trial of remedies against no change and against another learning rate alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from normwise.diagnose import fix
from normwise.diagnose.judge import MARGIN, judged
from normwise.diagnose.remedies.setup import differences
from normwise.diagnose.remedies.training import change_rate
from normwise.diagnose.subject import Data, Setup, Subject
from normwise.diagnose.trial import HELD_OUT, Change, drawn, outcomes, parts
from normwise.errors import ArgumentError, explain
from normwise.results import Estimate, Interval
from normwise.results.diagnosis import Finding, Proof

FACTORS = (0.3, 3.0)
"""Of the learning rates that are tried alone."""

FEWEST = 5
"""Seeds: an interval of four pairs is half as wide again, and a lucky seed decides."""

_CHOOSING = 3
_APART = 1000
"""Seeds that choose the learning rate lie so far behind those that judge."""

_NO_CHANGE = "no change"
Progress = Callable[[int, int], object]


def prove(
    subject: Subject,
    findings: Iterable[Finding],
    *,
    seeds: int = FEWEST,
    steps: int | None = None,
    first_seed: int = 0,
    dependents: bool = False,
    progress: Progress | None = None,
) -> tuple[Proof, ...]:
    """Try the remedies of findings: does the network become better on held-out samples, and is it the remedy?

    Each seed trains on equal data for equally many steps with the remedy, without it, and at another learning rate:
    the same weights where `subject.build` draws them, the same order of samples. Of the rates × 0.3 and × 3 the one
    with the better mean on *other* seeds is the control, so that luck on the judged seeds cannot choose it.

    What counts is the metric at the end, accuracy or R² on at most 8,192 held-out samples; a training that diverges
    counts as the best constant answer. `judge.judged` says what "helps" is; the margin is 0.01, or two held-out
    samples where that is more. A remedy that is itself nothing but another learning rate is held against no change.
    Without `subject.build` all seeds start from the weights as given, and `Proof.metric` says so: the interval then
    does not cover other draws.

    Args:
        subject: with setup and data; its model stays as it is.
        findings: root causes; those whose remedy is advice are passed over.
        seeds: that judge, at least 5; 3 more choose the learning rate.
        steps: of each training; None for the subject's.
        first_seed: the seeds count from here, for a repetition on fresh ones.
        dependents: try the remedies of dependents, too.
        progress: called after each training with how many are done, and how many there are.

    Returns:
        A proof for each remedy, in the order of the findings. One that the model could not take is undecided, with no
        value, and its words say why.

    Raises:
        ArgumentError: the subject has no training, or `seeds` or `steps` is too small.
        UnknownNameError: no rule has a finding's code.
    """
    steps = subject.steps if steps is None else steps
    if seeds < FEWEST or steps < 1:
        must = f"`seeds` must be at least {FEWEST}, and `steps` at least 1"
        raise ArgumentError(explain("prove", must, f"{seeds} and {steps}"))
    parts(subject)
    everything = [each for finding in findings for each in _asked(finding, dependents)]
    wanted = [finding for finding in everything if fix.applicable(finding)]
    if not wanted:
        return ()
    total = len(FACTORS) * _CHOOSING + seeds * (2 + len(wanted))
    trial = _Trial(subject, tuple(range(first_seed, first_seed + seeds)), steps, total, progress)
    return tuple(trial.proof(finding) for finding in wanted)


def verdict(proofs: Sequence[Proof]) -> str:
    """What a trial showed: a headline, and a line for each remedy, those that help most first.

    >>> verdict(())
    'no remedy could be tried'
    """
    if not proofs:
        return "no remedy could be tried"
    helping = sum(proof.outcome == "helps" for proof in proofs)
    noun, verb = "remedy" if len(proofs) == 1 else "remedies", "helps" if helping == 1 else "help"
    order = sorted(proofs, key=lambda p: (p.outcome != "helps", -(p.effect.value or 0.0)))
    headline = f"{helping} of {len(proofs)} {noun} {verb}" if helping else "no remedy helped"
    return "\n".join([headline, *(f"  {_line(proof)}" for proof in order)])


def _line(proof: Proof) -> str:
    place = f"{proof.code} at `{proof.layer}`" if proof.layer else proof.code
    value, interval = proof.effect.value, proof.effect.interval
    if value is None or interval.low is None or interval.high is None:
        return f"{place}: {proof.remedy}"
    unit = f" {proof.effect.unit}" if proof.effect.unit else ""
    said = f"helps by {value:.3g}" if proof.outcome == "helps" else f"{proof.outcome}, {value:+.3g}"
    return (
        f"{place}: {proof.remedy}: {said}{unit} [{interval.low:.3g}, {interval.high:.3g}] "
        f"{proof.metric} against {proof.control} ({proof.seeds} seeds, {proof.steps} steps)"
    )


def _asked(finding: Finding, dependents: bool) -> list[Finding]:
    below = [each for child in finding.dependents for each in _asked(child, True)]
    return [finding, *below] if dependents else [finding]


@dataclass
class _Trial:
    """Trainings of one subject; what has been trained once is not trained again.

    Attributes:
        subject: with setup and data.
        seeds: that judge.
        steps: of each training.
        total: trainings that are planned.
        progress: to be told.
        done: trainings so far.
        controls: name → metric of each seed; filled by the first remedy that is tried.
        tried: setup of the first seed → metric of each, of remedies.
    """

    subject: Subject
    seeds: tuple[int, ...]
    steps: int
    total: int
    progress: Progress | None
    done: int = 0
    controls: dict[str, tuple[float, ...]] = field(default_factory=dict)
    tried: list[tuple[Setup, tuple[float, ...]]] = field(default_factory=list)

    def proof(self, finding: Finding) -> Proof:
        """Of one remedy."""
        setup, data = drawn(self.subject, self.seeds[0])
        try:
            fixed = fix.apply(setup, finding, seed=self.seeds[0])
            metrics = self._of_remedy(finding, fixed)
        except ArgumentError as error:
            self._told(len(self.seeds))
            why = f"{finding.remedy} (not tried: {error})"
            nothing = Estimate(None, Interval(None, None), 0, "")
            return Proof(finding.code, finding.layer, why, "undecided", nothing, "", _NO_CHANGE, 0, 0)
        controls = self._controls()
        if differences(setup, fixed) == {"lr"}:
            controls = {_NO_CHANGE: controls[_NO_CHANGE]}
        judgement = judged(metrics, controls, margin_of(data))
        unit, factor = ("pp", 100.0) if data.task == "classification" else ("", 1.0)
        low, high = ((None if end is None else factor * end) for end in _ends(judgement.interval))
        return Proof(
            finding.code,
            finding.layer,
            finding.remedy,
            judgement.outcome,
            Estimate(factor * judgement.gain, Interval(low, high), len(self.seeds), unit),
            self._metric(data),
            judgement.control,
            len(self.seeds),
            self.steps,
        )

    def _of_remedy(self, finding: Finding, fixed: Setup) -> tuple[float, ...]:
        for other, metrics in self.tried:
            if not differences(other, fixed):
                self._told(len(self.seeds))
                return metrics
        metrics = self._train(lambda setup, seed: fix.apply(setup, finding, seed=seed), self.seeds)
        self.tried.append((fixed, metrics))
        return metrics

    def _controls(self) -> dict[str, tuple[float, ...]]:
        if not self.controls:
            choosing = range(self.seeds[0] + _APART, self.seeds[0] + _APART + _CHOOSING)
            factor = max(FACTORS, key=lambda factor: fmean(self._train(_rate(factor), choosing)))
            self.controls[_NO_CHANGE] = self._train(lambda setup, _: setup, self.seeds)
            self.controls[f"learning rate ×{factor:g}"] = self._train(_rate(factor), self.seeds)
        return self.controls

    def _train(self, change: Change, seeds: Sequence[int]) -> tuple[float, ...]:
        return outcomes(self.subject, change, seeds, self.steps, lambda: self._told(1))

    def _told(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, self.total)

    def _metric(self, data: Data) -> str:
        name = "accuracy" if data.task == "classification" else "R²"
        return f"held-out {name}" + ("" if self.subject.build else ", weights as given")


def margin_of(data: Data) -> float:
    """The smallest gain that is worth a remedy: 0.01, or two held-out samples where that is more."""
    return max(MARGIN, 2 / min(HELD_OUT, len(data.validation_targets)))


def _rate(factor: float) -> Change:
    return lambda setup, _: change_rate(setup, factor)


def _ends(interval: Interval) -> tuple[float | None, float | None]:
    return interval.low, interval.high
