"""What to train next, given what has been trained: the scan, then the fresh seeds.

The plan is a pure function of the question, the data and the records so far, so that an interrupted run goes on by
asking again. Within a setting it goes::

    scan     variant × learning rate × scan seeds, main initialisation
    extend   one more learning rate for all variants while some best one sits at the grid's edge, at most twice
    fresh    variant × fresh seeds at its tuned, its fastest and the baseline's tuned learning rate,
             and at its tuned one under every other initialisation
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from normwise.compare.measures import Measure
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.spec import LEARNING_RATES, SCAN_SEED_BASE, OptimizerName, Spec
from normwise.compare.variant import Variant
from normwise.results import SCHEMA_VERSION, TrialRecord

MOST_EXTENSIONS = 2
MOST_OF_THE_WAY = 0.95


@dataclass(frozen=True)
class Ground:
    """A setting: what all variants that are compared with each other share."""

    network: Network
    depth: int | None
    batch_size: int
    optimizer: OptimizerName
    steps: int
    train_share: float = 1.0

    @property
    def name(self) -> str:
        """Unique within a run: the kind of network, and whatever else was asked in several values."""
        depth = "" if self.depth is None else f", depth {self.depth}"
        share = "" if self.train_share == 1 else f", {self.train_share:.2%} of the training rows"
        return f"{self.network.kind}{depth}, batch {self.batch_size}, {self.optimizer}{share}"


@dataclass(frozen=True)
class Trial:
    """One training: everything that determines its numbers."""

    data: str  # fingerprint
    metric: str
    ground: Ground
    variant: Variant
    initialization: Initialization
    lr: float
    seed: int
    key: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _hash(self.identity()))

    def identity(self) -> dict[str, object]:
        """Plain values of everything that determines the numbers."""
        ground = asdict(self.ground) | {"network": self.ground.network.model_dump(mode="json")}
        return {
            "data": self.data,
            "metric": self.metric,
            "ground": ground,
            "variant": self.variant.model_dump(mode="json"),
            "initialization": self.initialization.model_dump(mode="json"),
            "lr": self.lr,
            "seed": self.seed,
        }


def _hash(identity: Mapping[str, object]) -> str:
    text = json.dumps([identity, SCHEMA_VERSION], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _round(lr: float) -> float:
    """0.1 rather than 0.10000000000000002: learning rates are read by people."""
    return float(f"{lr:.6g}")


@dataclass(frozen=True)
class Tuning:
    """What the scan of one setting decided, from validation alone."""

    grid: tuple[float, ...]
    extended: bool
    tuned: Mapping[str, float]  # by variant name
    fastest: Mapping[str, float | None]
    at_edge: Mapping[str, bool]
    target: float | None
    target_reason: str


def grounds(spec: Spec, *, steps_of: Callable[[int, float], int]) -> tuple[Ground, ...]:
    """Every setting of the question; `steps_of` gives the steps for a batch size and a share of the training rows."""
    return tuple(
        Ground(network.at_depth(depth), depth, batch, optimizer, steps_of(batch, share), share)
        for network, depth, batch, optimizer, share in itertools.product(
            spec.networks, spec.depths or (None,), spec.batch_sizes, spec.optimizers, spec.train_shares
        )
    )


class Plan:
    """The trials of one setting, in the order in which they become known."""

    def __init__(self, spec: Spec, ground: Ground, *, data: str, measure: Measure) -> None:
        self.spec, self.ground, self._data, self._measure = spec, ground, data, measure
        self.variants = spec.variants_for(ground.network.kind)
        self.baseline = spec.baseline_for(ground.network.kind)
        self.scan_seeds = tuple(SCAN_SEED_BASE + i for i in range(spec.scan_seeds))
        self.seeds = tuple(range(spec.seeds))
        self._fixed_grid: tuple[float, ...] | None = None

    @property
    def baseline_variant(self) -> Variant:
        """The variant that the others are held against."""
        return next(variant for variant in self.variants if variant.name == self.baseline)

    def trial(
        self, variant: Variant, lr: float, seed: int, initialization: Initialization | None = None
    ) -> Trial:
        """The trial of this setting with those values."""
        return Trial(
            self._data,
            self._measure.name,
            self.ground,
            variant,
            initialization or self.spec.initialization_of(variant),
            lr,
            seed,
        )

    def scan(self, grid: Iterable[float]) -> list[Trial]:
        """The trials that learning rates are chosen on; seed by seed, because a worker keeps the split it has."""
        return [
            self.trial(v, lr, seed) for seed, v, lr in itertools.product(self.scan_seeds, self.variants, grid)
        ]

    def grid(self, records: Mapping[str, TrialRecord]) -> tuple[tuple[float, ...], bool]:
        """The learning rates so far, and whether the scan of them asks for no further one.

        Extended by one point at the grid's own ratio, for all variants, while some variant's best learning rate is
        the first or the last one: the true best may then lie beyond.
        """
        if self._fixed_grid is not None:
            return self._fixed_grid, True
        grid = self.spec.lrs or LEARNING_RATES[self.ground.optimizer]
        for _ in range(MOST_EXTENSIONS if len(grid) > 1 else 0):
            if any(trial.key not in records for trial in self.scan(grid)):
                return grid, False
            best = [self._best(variant, grid, records) for variant in self.variants]
            if grid[-1] in best:
                grid = (*grid, _round(grid[-1] * grid[-1] / grid[-2]))
            elif grid[0] in best:
                grid = (_round(grid[0] * grid[0] / grid[1]), *grid)
            else:
                break
        return grid, all(trial.key in records for trial in self.scan(grid))

    def tune(self, records: Mapping[str, TrialRecord]) -> Tuning | None:
        """What the scan decided; None while it is not finished."""
        grid, finished = self.grid(records)
        return self._decided(grid, records) if finished else None

    def cut_short(self, records: Mapping[str, TrialRecord]) -> Plan | None:
        """This plan with no more scan seeds, and no more of the grid, than were finished; None if no seed was.

        For an interrupted run: a seed that some variants lack would be held against those.
        """
        first = self.spec.lrs or LEARNING_RATES[self.ground.optimizer]
        for grid in dict.fromkeys((self.grid(records)[0], first)):
            done = [
                seed
                for seed in self.scan_seeds
                if all(self.trial(v, lr, seed).key in records for v in self.variants for lr in grid)
            ]
            if done:
                short = Plan(self.spec, self.ground, data=self._data, measure=self._measure)
                short.scan_seeds, short._fixed_grid = tuple(done), grid
                return short
        return None

    def _decided(self, grid: tuple[float, ...], records: Mapping[str, TrialRecord]) -> Tuning:
        tuned = {variant.name: self._best(variant, grid, records) for variant in self.variants}
        target, reason = self._target(tuned, records)
        fastest = {variant.name: self._fastest(variant, grid, target, records) for variant in self.variants}
        edges = {name: len(grid) > 1 and lr in (grid[0], grid[-1]) for name, lr in tuned.items()}
        first = self.spec.lrs or LEARNING_RATES[self.ground.optimizer]
        return Tuning(grid, grid != first, tuned, fastest, edges, target, reason)

    def fresh(self, tuning: Tuning) -> list[Trial]:
        """The trials that the answer rests on, each once."""
        trials: dict[str, Trial] = {}
        for seed, variant in itertools.product(self.seeds, self.variants):
            rates = (tuning.tuned[variant.name], tuning.tuned[self.baseline], tuning.fastest[variant.name])
            for lr in dict.fromkeys(rate for rate in rates if rate is not None):
                trial = self.trial(variant, lr, seed)
                trials.setdefault(trial.key, trial)
            for initialization in self.spec.initializations[1:]:
                trial = self.trial(variant, tuning.tuned[variant.name], seed, initialization)
                trials.setdefault(trial.key, trial)
        return list(trials.values())

    def next(self, records: Mapping[str, TrialRecord]) -> list[Trial]:
        """The trials that are known to be needed and not recorded yet; empty when the setting is finished."""
        tuning = self.tune(records)
        wanted = self.scan(self.grid(records)[0]) if tuning is None else self.fresh(tuning)
        return [trial for trial in wanted if trial.key not in records]

    def scan_values(
        self, variant: Variant, lr: float, records: Mapping[str, TrialRecord]
    ) -> list[float | None]:
        """Final validation metric of each scan seed; None where the trial diverged or failed."""
        return [
            self._measure.final(records.get(self.trial(variant, lr, s).key), "validation")
            for s in self.scan_seeds
        ]

    def _best(self, variant: Variant, grid: tuple[float, ...], records: Mapping[str, TrialRecord]) -> float:
        """The learning rate with the best median final validation metric; a diverged seed counts as the worst."""

        def score(lr: float) -> float:
            values = self.scan_values(variant, lr, records)
            return statistics.median(-math.inf if v is None else self._measure.sign * v for v in values)

        # Of equals the middle one: an edge must win outright.
        middle = (len(grid) - 1) / 2
        return max(grid, key=lambda lr: (score(lr), -abs(grid.index(lr) - middle)))

    def _target(
        self, tuned: Mapping[str, float], records: Mapping[str, TrialRecord]
    ) -> tuple[float | None, str]:
        """The validation level that "faster" is measured to: asked for, or what the tuned baseline surely reaches.

        Most of the way of the slowest scan seed, from the untrained network to the end of its training: splits differ
        in difficulty, and the very end of the way would be out of reach on half of them.
        """
        if self.spec.goal is not None:
            return self.spec.goal, "asked for"
        lr, levels = tuned[self.baseline], []
        for seed in self.scan_seeds:
            record = records.get(self.trial(self.baseline_variant, lr, seed).key)
            end = self._measure.final(record, "validation")
            start = (
                None
                if record is None or end is None
                else self._measure.value(record.evaluations[0], "validation")
            )
            if start is not None and end is not None:
                levels.append(
                    (start + MOST_OF_THE_WAY * (end - start), self._measure.sign * (end - start) > 0)
                )
        if not levels:
            return None, f"no run of the baseline {self.baseline!r} finished in the scan"
        level, learned = min(levels, key=lambda pair: self._measure.sign * pair[0])
        if not learned:
            return None, f"the baseline {self.baseline!r} did not get better by training in the scan"
        return level, (
            f"{MOST_OF_THE_WAY:.0%} of the way that the slowest of {len(levels)} scan seeds of {self.baseline!r} went "
            "from the untrained network at its tuned learning rate"
        )

    def _fastest(
        self,
        variant: Variant,
        grid: tuple[float, ...],
        target: float | None,
        records: Mapping[str, TrialRecord],
    ) -> float | None:
        """The learning rate with the fewest median steps to the target in the scan; None if most seeds miss it."""
        if target is None:
            return None

        def steps(lr: float) -> float:
            found = (records.get(self.trial(variant, lr, seed).key) for seed in self.scan_seeds)
            times = [None if record is None else self._measure.steps_to(record, target) for record in found]
            return statistics.median(math.inf if t is None else t for t in times)

        best = min(grid, key=steps)
        return None if math.isinf(steps(best)) else best
