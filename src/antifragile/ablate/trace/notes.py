"""Notes of a recorder: one set for each site of the source and for each module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from antifragile.ablate.records import SiteKey
from antifragile.ablate.trace.records import Callee, Value

Operands = Mapping[str, tuple[Any, Any]]  # name of the argument -> (tensor, node)


class Phase(StrEnum):
    """Parts of a run."""

    OTHER = "other"
    TRAIN = "train"
    EVAL = "eval"


@dataclass
class Notes:
    """Notes on one site or one module."""

    calls: dict[Phase, int] = field(default_factory=lambda: dict.fromkeys(Phase, 0))
    operands: dict[str, Value] = field(default_factory=dict)
    outputs: tuple[Value, ...] = ()
    is_tensor: bool = False
    signatures: dict[Any, None] = field(default_factory=dict)
    nodes: list[tuple[list[Any], dict[str, Any]]] = field(default_factory=list)
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


Nodes = tuple[tuple[int, ...], Mapping[str, int | None]]  # of the outputs, of the operands


def run_fields(notes: Notes, modules: Mapping[int, int], nodes: Iterable[Nodes]) -> dict[str, Any]:
    """Turn notes into the fields that the records of sites and modules share.

    Args:
        notes: The notes of the site or module.
        modules: Id of each module object -> its number.
        nodes: The nodes of each call of the training forward, as numbers.
    """

    def numbered(value: Value) -> Value:
        maker = None if value.made_by is None else modules.get(value.made_by)
        return replace(value, made_by=maker)

    return {
        "calls": notes.calls[Phase.TRAIN],
        "eval_calls": notes.calls[Phase.EVAL],
        "other_calls": notes.calls[Phase.OTHER],
        "operands": {name: numbered(value) for name, value in notes.operands.items()},
        "outputs": tuple(map(numbered, notes.outputs)),
        "is_tensor": notes.is_tensor,
        "signatures": tuple(notes.signatures),
        "nodes": tuple(nodes),
    }
