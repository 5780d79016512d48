"""The records of one setting, asked for by what they are evidence of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from normwise.compare.cost import CostRecord
from normwise.compare.measures import Measure
from normwise.compare.network_spec import Initialization
from normwise.compare.plan import Plan, Tuning
from normwise.compare.variant import Variant
from normwise.results import TrialRecord

Records = list[TrialRecord | None]


@dataclass(frozen=True)
class Evidence:
    """Everything that is known of one setting.

    Attributes:
        cost: None where step times were not taken yet.
        exploratory: no verdict is wanted.
    """

    plan: Plan
    tuning: Tuning
    measure: Measure
    records: Mapping[str, TrialRecord]
    cost: CostRecord | None
    exploratory: bool = False

    @property
    def baseline(self) -> Variant:
        """The variant that the others are held against."""
        return self.plan.baseline_variant

    @property
    def comparisons(self) -> int:
        """Variants beside the baseline: the family that verdicts allow for."""
        return len(self.plan.variants) - 1

    def fresh(self, variant: Variant, lr: float, initialization: Initialization | None = None) -> Records:
        """One record per fresh seed; None where the trial failed or has not run."""
        return [
            self._usable(self.plan.trial(variant, lr, seed, initialization).key) for seed in self.plan.seeds
        ]

    def tuned(self, variant: Variant, initialization: Initialization | None = None) -> Records:
        """Fresh seeds at the variant's tuned learning rate."""
        return self.fresh(variant, self.tuning.tuned[variant.name], initialization)

    def fixed(self, variant: Variant) -> Records:
        """Fresh seeds at the baseline's tuned learning rate."""
        return self.fresh(variant, self.tuning.tuned[self.plan.baseline])

    def fastest(self, variant: Variant) -> Records | None:
        """Fresh seeds at the variant's fastest learning rate; None where no learning rate reached the target."""
        lr = self.tuning.fastest[variant.name]
        return None if lr is None else self.fresh(variant, lr)

    def scanned(self, variant: Variant, lr: float) -> Records:
        """Scan seeds at a learning rate."""
        return [self._usable(self.plan.trial(variant, lr, s).key) for s in self.plan.scan_seeds]

    def _usable(self, key: str) -> TrialRecord | None:
        record = self.records.get(key)
        return None if record is None or record.outcome == "raised" else record


def pairs(baseline: Records, variant: Records) -> list[tuple[TrialRecord, TrialRecord]]:
    """The seeds that both sides finished or diverged in."""
    return [(b, v) for b, v in zip(baseline, variant, strict=True) if b is not None and v is not None]
