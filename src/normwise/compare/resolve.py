"""From a question as it was asked to one that leaves nothing open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from normwise.compare import studies
from normwise.compare.network import standing_of, user_model
from normwise.compare.network_norms import Standing
from normwise.compare.network_spec import Network, NetworkKind
from normwise.compare.spec import Spec
from normwise.compare.studies import Study
from normwise.compare.variant import NORMS, as_it_is, product
from normwise.data import Dataset
from normwise.errors import ArgumentError, explain
from normwise.norms import OWN

_SEEN = (4096, 64, 64)
"""Rows of train, validation and test that tell what goes into a network."""


@dataclass(frozen=True)
class Resolved:
    """A question that leaves nothing open, and the study that filled it in."""

    spec: Spec
    study: Study


def identified(spec: Spec) -> Spec:
    """The same question with a hash of the source of the user's model: an edited model is another question."""
    if not any(network.kind == "model" for network in spec.networks):
        return spec
    return spec.model_copy(update={"networks": tuple(_with_fingerprint(n) for n in spec.networks)})


def _with_fingerprint(network: Network) -> Network:
    if network.kind != "model":
        return network
    return network.model_copy(update={"fingerprint": user_model(network).fingerprint})


def where_data_is(spec: Spec) -> Spec:
    """The same question with the data that its study brings, where none was named."""
    if spec.study != "article" or "data" in spec.model_fields_set:
        return spec
    update = {"data": studies.ARTICLE_DATA, "drop": studies.article_drops()}
    return spec.model_copy(update=update)


def resolve(spec: Spec, data: Dataset) -> Resolved:
    """Fill in what was left open: by the study, by the kind of data, by what the user's model takes."""
    images, asked = data.in_shape is not None, spec.model_fields_set
    study = studies.find(spec.study, images=images, classes=len(data.classes))
    own = next((network for network in spec.networks if network.kind == "model"), None)
    brings = Standing((), True) if own is None else _standing(own, data)
    if own is not None and "study" not in spec.model_fields_set:
        study = studies.own_model(brings.takes_norm)
    spec = _filled(spec, study.fields)
    if own is not None and len(spec.networks) == 1:
        spec = _of_the_model(spec, brings, named="variants" in asked)
    if "batch_sizes" not in asked:
        spec = spec.model_copy(update={"batch_sizes": _fitting(spec, data.sizes()[0])})
    if not spec.networks:
        kinds: tuple[NetworkKind, ...] = ("mlp", "cnn") if images else ("mlp",)
        networks = tuple(Network(kind=kind, activation=spec.activation) for kind in kinds)
        spec = spec.model_copy(update={"networks": networks})
    return Resolved(spec, study)


def _standing(network: Network, data: Dataset) -> Standing:
    """What normalization the user's model brings; one that takes it as a parameter counts as one without."""
    if "norm" in user_model(network).varies:
        return Standing((), True)
    split = data.split(0, most=_SEEN)
    try:
        return standing_of(network, split.in_shape, split.out_features)
    except ArgumentError:  # told where the variants are tried on what they train on
        return Standing((), False)


def _of_the_model(spec: Spec, brings: Standing, *, named: bool) -> Spec:
    """The question to a user's model alone: where it brings no norms, "own" is "none"."""
    if not brings.kinds:
        if spec.variants is None:
            return spec
        plain = [v.model_copy(update={"norm": "none"}) if v.norm == OWN else v for v in spec.variants]
        names = [variant.name for variant in plain]
        if len(set(names)) < len(names):
            must = "'own' differs from 'none' where a model brings norms of its own"
            raise ArgumentError(explain("compare", must, "a model without", "leave one of them away"))
        return spec.model_copy(update={"variants": tuple(plain)})
    if spec.variants is None:
        norms = [norm for norm in NORMS if brings.kinds != (norm,)]
        return spec.model_copy(update={"variants": product(norms=[OWN, *norms])})
    return spec if named else spec.model_copy(update={"variants": tuple(map(as_it_is, spec.variants))})


def _fitting(spec: Spec, rows: int) -> tuple[int, ...]:
    """Batch sizes of which the training part has two at least, where nobody asked for others."""
    largest = max(2, 2 ** int(math.log2(max(2, min(spec.train_shares) * rows / 2))))
    return tuple(dict.fromkeys(min(size, largest) for size in spec.batch_sizes))


def _filled(spec: Spec, fields: dict[str, Any]) -> Spec:
    asked = set(spec.model_fields_set)
    # What was asked of a variant or a length under one name leaves nothing open under the other.
    update = {name: value for name, value in fields.items() if name not in asked}
    if "networks" in update and spec.activation != "relu":
        networks = tuple(n.model_copy(update={"activation": spec.activation}) for n in update["networks"])
        update["networks"] = networks
    return spec.model_copy(update=update)
