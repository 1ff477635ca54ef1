"""``antifragile perturb``: the presets of perturbed equations, by name."""

from __future__ import annotations

from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.options import JsonOption
from antifragile.config.perturbation import PERTURBATIONS, add_preset_plugins
from antifragile.optim import presets

_TITLE = "presets: antifragile.perturb(optimizer, *presets.NAME())"


def list_presets(as_json: JsonOption = False) -> None:
    """List the presets."""
    add_preset_plugins()
    added = {name: facts.rules for name, facts in PERTURBATIONS.items() if facts.rules is not None}
    makers = {**presets.PRESETS, **added}
    about = {name: _first_line(make.__doc__) for name, make in makers.items()}
    if as_json:
        print_json({"presets": about})
        return
    table = plain_table("preset", "what it does", title=_TITLE, no_wrap=("preset",))
    for name, line in about.items():
        table.add_row(name, line)
    stdout().print(table)


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0] if text else ""
