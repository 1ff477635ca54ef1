"""The modes and their modifiers, as ``antifragile info --modes`` lists them."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from antifragile.cli.console import plain_table
from antifragile.config.modes import get_mode, mode_names
from antifragile.config.modifiers.table import MODIFIERS, Modifier
from antifragile.fleet.planning.modes import why_not_in_fleet


def listed_modes() -> dict[str, Any]:
    """Plain values of all registered modes and all modifiers, for JSON."""
    return {
        "modes": [
            {"name": name, "group": get_mode(name).group, "trainer": _trainer(name)}
            for name in mode_names()
        ],
        "modifiers": [
            {
                "name": item.name,
                "written": item.spelling,
                "decides": item.part,
                "with": _company(item),
                "meaning": item.words,
            }
            for item in MODIFIERS.values()
        ],
    }


def mode_tables() -> tuple[Table, Table]:
    """The same as two tables."""
    values = listed_modes()
    modes = plain_table("mode", "group", "trained by")
    for row in values["modes"]:
        modes.add_row(*row.values())
    modifiers = plain_table("modifier", "decides", "with", "meaning", no_wrap=("modifier",))
    for row in values["modifiers"]:
        modifiers.add_row(*list(row.values())[1:])
    return modes, modifiers


def _trainer(name: str) -> str:
    mode = get_mode(name)
    perturbations = () if mode.perturbation is None else (mode.perturbation,)
    return "readable engine" if why_not_in_fleet(mode, perturbations) else "fleet"


def _company(modifier: Modifier) -> str:
    if modifier.name == "every":
        return "mode redo"
    return "modes that ablate" if modifier.needs_ablation else "any mode"
