"""The record of Keras 3 in the registry of frameworks; imports Keras only when it is opened."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from antifragile.ablate.frameworks.base import Framework
from antifragile.ablate.records import Project
from antifragile.ablate.trace.records import Trace

if TYPE_CHECKING:
    from antifragile.ablate.frameworks.adapter import Adapter


def _trace(project: Project) -> Trace:
    from antifragile.ablate.frameworks.keras.trace import trace_keras

    return trace_keras(project)


def _open_models(folder: str) -> Adapter:
    from antifragile.ablate.frameworks.keras.models import KerasModels

    return KerasModels()


def _placeholders(names: Mapping[str, str]) -> dict[str, str]:
    keras = names.get("keras", "keras")
    layers = names.get("keras.layers", f"{keras}.layers")
    ops = names.get("keras.ops", f"{keras}.ops")
    shared = {"torch": ops, "nn": layers, "functional": ops}
    return {**shared, "ops": ops, "layers": layers, "keras": keras}


# keras.utils.set_random_seed imports TensorFlow on every back end where it is installed: 3 s.
_SEEDED = ("tensorflow",) if importlib.util.find_spec("tensorflow") is not None else ()

KERAS = Framework(
    name="keras",
    title="Keras",
    templates=Path(__file__).parent,
    trace=_trace,
    open_models=_open_models,
    placeholders=_placeholders,
    preload=("torch", "numpy.random", "keras", "antifragile.ablate.frameworks.keras.models"),
    preload_training=("torch._dynamo", *_SEEDED),
    environment={"TF_CPP_MIN_LOG_LEVEL": "3"},
    extra="keras",
)
