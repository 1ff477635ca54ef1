"""Reading the parts of a study spec from plain values, as TOML and JSON give them.

A part that cannot be read adds its fault to the list and is replaced by a valid one, so that the
rest of the spec is still checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from antifragile.config._checks import Faults, shown
from antifragile.config.architecture import Architecture
from antifragile.config.landscape import PAPER_LANDSCAPE
from antifragile.config.modes import PAPER_MODES, get_mode, mode_names
from antifragile.config.specs.evaluate import EvaluateOptions
from antifragile.config.specs.training import PRESETS, TrainingOptions
from antifragile.errors import AntifragileError, SpecError, UsageError

_PLACEHOLDERS: dict[str, Any] = {  # required; lets the other keys be checked when one is missing
    "name": "?",
    "dataset": "?",
    "architectures": (Architecture(((1, 1),)),),
}


def read_values(
    faults: Faults, data: Mapping[str, object], *, keys: Sequence[str]
) -> dict[str, Any]:
    """Read the fields of a spec; missing and unreadable ones are noted and get a placeholder.

    Args:
        faults: The list that faults are added to.
        data: Plain values, as they were given.
        keys: All keys that a spec can have.
    """
    faults.unknown_keys(data, keys)
    for key in _PLACEHOLDERS:
        if key not in data:
            faults.add(f"missing key {key!r}")
    values = {key: data[key] for key in keys if key in data}
    if "architectures" in values:
        values["architectures"] = _read_architectures(faults, values["architectures"])
    if "modes" in values:
        values["modes"] = _read_modes(faults, values["modes"])
    values["training"] = _read_training(faults, data)
    values["evaluate"] = _read_evaluate(faults, data.get("evaluate", {}))
    return _PLACEHOLDERS | values


def _read_architectures(faults: Faults, value: object) -> tuple[Architecture, ...]:
    if value == "paper":
        return tuple(entry.architecture for entry in PAPER_LANDSCAPE)
    if not isinstance(value, list):
        faults.add(f"architectures must be a list of shapes or 'paper'; got {shown(value)}")
        return tuple(_PLACEHOLDERS["architectures"])
    found: list[Architecture] = []
    for item in value:
        try:
            if not isinstance(item, str):
                raise UsageError(f"architecture {shown(item)} is not a text; write it as '4*4'.")
            found.append(Architecture.parse(item))
        except AntifragileError as error:
            faults.add(str(error))
    return tuple(found) if found or not value else tuple(_PLACEHOLDERS["architectures"])


def _read_modes(faults: Faults, value: object) -> tuple[str, ...]:
    if value == "paper":
        return PAPER_MODES
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        faults.add(f"modes must be a list of names or 'paper'; got {shown(value)}")
        return PAPER_MODES
    return tuple(value)


def read_modes(faults: Faults, names: Sequence[str]) -> tuple[str, ...]:
    """Return the canonical names of modes; an unknown one is noted and stays as it is."""
    found = []
    for name in names:
        try:
            found.append(get_mode(name).name)
        except SpecError as error:
            if any(sign in str(name) for sign in "+:"):
                faults.extend(error)
            else:
                faults.choice("mode", name, mode_names())
            found.append(name)
    return tuple(found)


def _read_training(faults: Faults, data: Mapping[str, object]) -> TrainingOptions:
    table, preset = data.get("training", {}), data.get("preset", "paper")
    if not isinstance(table, Mapping):
        faults.add(f"training must be a table; got {shown(table)}")
        table = {}
    if not isinstance(preset, str) or preset not in PRESETS:
        preset = "paper"  # the fault is found with those of the other keys
    try:
        return TrainingOptions.from_mapping(table, preset=preset)
    except SpecError as error:
        faults.extend(error)
        return TrainingOptions()


def _read_evaluate(faults: Faults, table: object) -> EvaluateOptions:
    if not isinstance(table, Mapping):
        faults.add(f"evaluate must be a table; got {shown(table)}")
        return EvaluateOptions()
    names = [item.name for item in fields(EvaluateOptions)]
    faults.unknown_keys(table, names, where="evaluate.")
    known = {name: table[name] for name in names if name in table}
    for name, value in known.items():
        if not isinstance(value, bool):
            faults.add(f"evaluate.{name} must be true or false; got {shown(value)}")
    return EvaluateOptions(**{name: value is True for name, value in known.items()})
