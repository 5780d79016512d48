"""Normalization and regularization for people who train neural networks.

Every layer is here by name (``normwise.BatchNorm2d``), and so are `compare`, `diagnose` and `report`. Names are
imported when they are first asked for, so that ``import normwise`` alone costs next to nothing.

>>> import normwise as nw
>>> nw.BatchNormAct1d(8, activation="relu", dropout=0.1).activation
'relu'
"""

from typing import TYPE_CHECKING

from normwise._exports import attach

if TYPE_CHECKING:
    from normwise.allocator import tune_allocator as tune_allocator
    from normwise.compare.api import compare as compare
    from normwise.data import load as load
    from normwise.diagnose.api import diagnose as diagnose
    from normwise.initialize import initialize_ as initialize_
    from normwise.kernels.memory import keep_memory as keep_memory
    from normwise.kernels.registry import use_backend as use_backend
    from normwise.layers import *  # noqa: F403 - the layers are this package's face
    from normwise.models import cnn as cnn, mlp as mlp
    from normwise.monitor import Monitor as Monitor
    from normwise.regularizers import (
        L1 as L1,
        L2 as L2,
        SGDW as SGDW,
        ActivityPenalty as ActivityPenalty,
        ConfidencePenalty as ConfidencePenalty,
        Elastic as Elastic,
        GroupLasso as GroupLasso,
        LabelSmoothing as LabelSmoothing,
        MaxNorm as MaxNorm,
        NonNegative as NonNegative,
        OrthogonalPenalty as OrthogonalPenalty,
        SpectralPenalty as SpectralPenalty,
        UnitNorm as UnitNorm,
        parameter_groups as parameter_groups,
        sparsity as sparsity,
    )
    from normwise.report.write import report as report
    from normwise.surgery import (
        ForeignLayer as ForeignLayer,
        accelerate as accelerate,
        average_statistics as average_statistics,
        convert as convert,
        decelerate as decelerate,
        desynchronize as desynchronize,
        fold as fold,
        freeze as freeze,
        from_flax as from_flax,
        from_keras as from_keras,
        insert as insert,
        recalibrate as recalibrate,
        remove as remove,
        reset_running_stats as reset_running_stats,
        set_statistics as set_statistics,
        synchronize as synchronize,
        to_flax as to_flax,
        to_keras as to_keras,
        unfold as unfold,
        unfreeze as unfreeze,
    )

attach(
    __name__,
    dict.fromkeys(
        (
            "L1",
            "L2",
            "SGDW",
            "ActivityPenalty",
            "ConfidencePenalty",
            "Elastic",
            "GroupLasso",
            "LabelSmoothing",
            "MaxNorm",
            "NonNegative",
            "OrthogonalPenalty",
            "SpectralPenalty",
            "UnitNorm",
            "parameter_groups",
            "sparsity",
        ),
        "normwise.regularizers",
    )
    | dict.fromkeys(("cnn", "mlp"), "normwise.models")
    | dict.fromkeys(
        (
            "ForeignLayer",
            "accelerate",
            "average_statistics",
            "convert",
            "decelerate",
            "desynchronize",
            "fold",
            "freeze",
            "from_flax",
            "from_keras",
            "insert",
            "recalibrate",
            "remove",
            "reset_running_stats",
            "set_statistics",
            "synchronize",
            "to_flax",
            "to_keras",
            "unfold",
            "unfreeze",
        ),
        "normwise.surgery",
    )
    | {
        "Monitor": "normwise.monitor.monitor",
        "compare": "normwise.compare",
        "diagnose": "normwise.diagnose",
        "initialize_": "normwise.initialize",
        "keep_memory": "normwise.kernels.memory",
        "load": "normwise.data",
        "report": "normwise.report",
        "tune_allocator": "normwise.allocator",
        "use_backend": "normwise.kernels.registry",
    },
    fallback="normwise.layers",
)
