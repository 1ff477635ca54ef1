"""``antifragile units``: the units of a model, which an ablation can cut off one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from antifragile.cli.ablate.user_functions import call_user, load_function
from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.options import JsonOption
from antifragile.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from antifragile.model.units.records import UnitGroup, UnitTable


def units(
    build: Annotated[
        str, typer.Option("--build", help="Function that returns the model, as model.py:build.")
    ],
    inputs: Annotated[
        str,
        typer.Option(
            "--inputs", help="Function that returns the arguments of a call, as model.py:inputs."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """List the units of a model: neurons, channels, heads, and what has none and why.

    The functions run in this process, as in a script of yours. Every unit is verified: after its
    ablation, random values on what comes in change no output of the model.
    """
    from torch import nn

    from antifragile.model.units.find import find_units

    model = call_user(load_function(build), build)
    if not isinstance(model, nn.Module):
        raise UsageError(f"{build} returned a {type(model).__name__}, expected a torch.nn.Module.")
    given = call_user(load_function(inputs), inputs)
    table = call_user(lambda: find_units(model, given), f"the model of {build}")
    parameters = dict(model.named_parameters())
    if as_json:
        print_json(_plain(table, parameters))
        return
    _print(table, parameters)


def _plain(table: UnitTable, parameters: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "groups": [
            {
                "layer": group.layer,
                "kind": str(group.kind),
                "units": len(group.units),
                "entries": _sizes(group, parameters),
                "written_by": list(group.writers),
                "read_by": list(group.readers),
            }
            for group in table.groups
        ],
        "refused": [{"layer": row.layer, "reason": row.reason} for row in table.refused],
    }


def _sizes(group: UnitGroup, parameters: Mapping[str, Tensor]) -> dict[str, int]:
    """Number of entries of every parameter that the first unit zeroes."""
    masks = group.units[0].entries(parameters)
    return {name: int(masks[name].sum()) for name in parameters if name in masks}


def _print(table: UnitTable, parameters: Mapping[str, Tensor]) -> None:
    shown = plain_table("layer", "kind", "units", "weights each", "read by")
    for group in table.groups:
        shown.add_row(
            group.layer,
            str(group.kind),
            str(len(group.units)),
            str(sum(_sizes(group, parameters).values())),
            ", ".join(group.readers) or "the output",
        )
    if not table.groups:
        stdout().print("No units.")
    else:
        stdout().print(shown)
    if table.refused:
        refused = plain_table("without units", "because")
        for row in table.refused:
            refused.add_row(row.layer, row.reason)
        stdout().print()
        stdout().print(refused)
