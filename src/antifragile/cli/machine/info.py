"""``antifragile info``: versions, this machine, extras, and the limits that hold here."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Any

import typer
from rich.table import Table

import antifragile
from antifragile._optional import OptionalExtra, optional_extras
from antifragile.ablate.sandbox.limits.probe import HeldLimit, find_mechanisms, held_limits
from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.machine.modes import listed_modes, mode_tables
from antifragile.cli.options import JsonOption
from antifragile.study.machine import describe_machine, usable_cores


def info(
    *,
    modes: Annotated[
        bool, typer.Option("--modes", help="List modes and their modifiers instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show versions, this machine, extras, and which limits of model code hold here."""
    if modes:
        if as_json:
            print_json(listed_modes())
            return
        for table in mode_tables():
            stdout().print(table)
            stdout().print()
        stdout().print("written BASE+MODIFIER+..., or MODE:LOOPS,MODE:LOOPS,... one after another")
        return
    facts, extras = _facts(), optional_extras()
    limits = held_limits(find_mechanisms())
    if as_json:
        print_json(_plain(facts, extras, limits))
        return
    for table in (_facts_table(facts), _extras_table(extras), _limits_table(limits)):
        stdout().print(table)
        stdout().print()


def _facts() -> dict[str, str]:
    return {
        "antifragile": antifragile.__version__,
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "processor": f"{describe_machine()}, {usable_cores()} cores",
        "accelerator": _accelerator(),
        "system": f"{platform.system()} {platform.release()}",
        "user": "root" if hasattr(os, "geteuid") and os.geteuid() == 0 else "not root",
    }


def _accelerator() -> str:
    import torch

    if torch.cuda.is_available():
        return describe_machine("cuda")
    return "mps" if torch.backends.mps.is_available() else "none"


def _plain(
    facts: dict[str, str], extras: tuple[OptionalExtra, ...], limits: tuple[HeldLimit, ...]
) -> dict[str, Any]:
    return {
        **facts,
        "extras": [
            {"name": item.name, "missing": list(item.missing), "command": item.command}
            for item in extras
        ],
        "limits": [asdict(item) for item in limits],
    }


def _facts_table(facts: dict[str, str]) -> Table:
    table = plain_table("this machine", "")
    for name, value in facts.items():
        table.add_row(name, value)
    return table


def _extras_table(extras: tuple[OptionalExtra, ...]) -> Table:
    table = plain_table("extra", "here", "to install", no_wrap=("to install",))
    for item in extras:
        table.add_row(item.name, *_presence(item))
    return table


def _presence(item: OptionalExtra) -> tuple[str, str]:
    if not item.missing:
        return "yes", ""
    return f"no {', '.join(item.missing)}", item.command


def _limits_table(limits: tuple[HeldLimit, ...]) -> Table:
    table = plain_table("limit of model code", "holds", "by")
    for item in limits:
        table.add_row(item.name, item.strength, item.mechanism)
    return table
