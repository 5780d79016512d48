"""Frozen, versioned records: all that passes between producers (compare, bench) and consumers (report, users).

Nothing here computes, and nothing here imports torch: a record made on one machine is read on any other.
"""

from normwise.results.benchmark import (
    BENCHMARK_SCHEMA_VERSION,
    BarResult,
    Benchmark,
    BenchmarkMachine,
    CaseResult,
    CopyBandwidth,
    Mode,
    Side,
    SideResult,
    Spread,
)
from normwise.results.codec import dumps, loads
from normwise.results.comparison import (
    Claim,
    ClaimName,
    Comparison,
    DataSummary,
    GradientProbe,
    MoreSeeds,
    Recommendation,
    ReferenceResult,
    Reproduction,
    Setting,
    Snippet,
    Strength,
    Verdict,
)
from normwise.results.diagnosis import Check, Diagnosis, Evidence, Finding, Proof, Series, Vital
from normwise.results.estimate import Estimate, Interval
from normwise.results.plan import PlannedSetting, PlanSummary
from normwise.results.trial import SCHEMA_VERSION, Evaluation, LayerSignals, TrialOutcome, TrialRecord
from normwise.results.variant import (
    ActivationPercentiles,
    CostResult,
    Curve,
    FinalSeed,
    GradientFlow,
    InitSpread,
    LearningRatePoint,
    VariantResult,
)

__all__ = [
    "BENCHMARK_SCHEMA_VERSION",
    "SCHEMA_VERSION",
    "ActivationPercentiles",
    "BarResult",
    "Benchmark",
    "BenchmarkMachine",
    "CaseResult",
    "Check",
    "Claim",
    "ClaimName",
    "Comparison",
    "CopyBandwidth",
    "CostResult",
    "Curve",
    "DataSummary",
    "Diagnosis",
    "Estimate",
    "Evaluation",
    "Evidence",
    "FinalSeed",
    "Finding",
    "GradientFlow",
    "GradientProbe",
    "InitSpread",
    "Interval",
    "LayerSignals",
    "LearningRatePoint",
    "Mode",
    "MoreSeeds",
    "PlanSummary",
    "PlannedSetting",
    "Proof",
    "Recommendation",
    "ReferenceResult",
    "Reproduction",
    "Series",
    "Setting",
    "Side",
    "SideResult",
    "Snippet",
    "Spread",
    "Strength",
    "TrialOutcome",
    "TrialRecord",
    "VariantResult",
    "Verdict",
    "Vital",
    "dumps",
    "loads",
]
