"""Notes of a recorder: one set for each site of the source and for each module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from antifragile.ablate.records import SiteKey
from antifragile.ablate.trace.records import Callee, Value

Operands = Mapping[str, tuple[Any, Any]]  # name of the argument -> (tensor, node)
Shapes = Mapping[str, tuple[int, ...]]  # of one call: of operand "0", "self", ..., of output "-> 0"


class Phase(StrEnum):
    """Parts of a run."""

    OTHER = "other"
    TRAIN = "train"
    EVAL = "eval"
    WHOLE = "whole"  # evaluation once more, only shapes are noted; see `trace.batch`
    PART = "part"  # the same on another number of samples


@dataclass
class Notes:
    """Notes on one site or one module."""

    calls: dict[Phase, int] = field(default_factory=lambda: dict.fromkeys(Phase, 0))
    operands: Mapping[str, Value] = field(default_factory=dict)
    outputs: tuple[Value, ...] = ()
    is_tensor: bool = False
    n_leading: int = 0
    signatures: dict[Any, None] = field(default_factory=dict)
    shapes: dict[Phase, list[Shapes]] = field(default_factory=dict)  # of the two last phases
    nodes: list[tuple[list[Any], dict[str, Any]]] = field(default_factory=list)
    rewritten: list[Any] = field(default_factory=list)  # results written into later, in place
    callee: Callee = Callee.OTHER
    name: str = ""
    modules: dict[int, None] = field(default_factory=dict)
    arguments: dict[str, object] = field(default_factory=dict)
    new_parameters: dict[int, None] = field(default_factory=dict)
    parameters: dict[str, None] = field(default_factory=dict)  # seen at an attribute


@dataclass
class ModuleNotes(Notes):
    """Notes on one module object."""

    module: Any = None
    built_at: list[SiteKey] = field(default_factory=list)
    returned_at: list[SiteKey] = field(default_factory=list)  # by calls that did not make it
    built_under: tuple[SiteKey, ...] = ()
    first_seen: int = 0
    used_at: dict[SiteKey, None] = field(default_factory=dict)
    touched: dict[str, None] = field(default_factory=dict)
    first_parameters: set[int] = field(default_factory=set)  # ids, when construction ended
    extra: dict[str, None] = field(default_factory=dict)  # arguments beside the first
    skips_hooks: bool = False  # called by its forward, or by a `__call__` of its own class
    is_late: bool = False  # its parameters appeared at its first call
    passes_input: bool = True  # until a call returns something else than what it was given
