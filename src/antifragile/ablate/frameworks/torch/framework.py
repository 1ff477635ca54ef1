"""The record of PyTorch in the registry of frameworks; imports torch only when it is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from antifragile.ablate.frameworks.base import Framework
from antifragile.ablate.records import Project
from antifragile.ablate.trace.records import Trace

if TYPE_CHECKING:
    from antifragile.ablate.frameworks.adapter import Adapter

_META = '.to("meta")'
_SIMPLE = re.compile(r"ShapeOnly\((\w+\.)*(Linear|Conv[123]d)\(")  # see `compiler`


def _trace(project: Project) -> Trace:
    from antifragile.ablate.frameworks.torch.trace import trace_torch

    return trace_torch(project)


def _open_models(folder: str) -> Adapter:
    from antifragile.ablate.frameworks.torch.models import TorchModels

    return TorchModels(folder=folder)


def _placeholders(names: Mapping[str, str]) -> dict[str, str]:
    torch = names.get("torch", "torch")
    nn = names.get("torch.nn", f"{torch}.nn")
    functional = names.get("torch.nn.functional", f"{nn}.functional")
    return {"torch": torch, "nn": nn, "functional": functional}


def _preload_for(texts: Sequence[str]) -> tuple[str, ...]:
    """Import torch's compiler once where several variants need it.

    Torch wants it to tell shapes without values, except those of simple layers. It costs 1 s where
    it is imported, and where that is the server, 15 ms in every child: worth it for two that ask.
    """
    asking = [text for text in texts if _META in text and not _SIMPLE.search(text)]
    return ("torch._dynamo",) if len(asking) > 1 else ()


TORCH = Framework(
    name="torch",
    title="PyTorch",
    templates=Path(__file__).parent,
    trace=_trace,
    open_models=_open_models,
    placeholders=_placeholders,
    preload=("torch", "numpy.random", "antifragile.ablate.frameworks.torch.models"),
    preload_for=_preload_for,
    # Optimizers import it when first used, a second of work; here it is done once.
    preload_training=("torch._dynamo",),
    environment={"TORCHDYNAMO_DISABLE": "1"},  # for what libraries compile; see `compiler`
    trains_data_sets=True,
)
