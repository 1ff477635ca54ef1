"""``antifragile study check``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.options import DEFAULT_STORE, JsonOption
from antifragile.store.check import Finding, Repair, check_store, repair_store
from antifragile.store.store import Store
from antifragile.study.agreement import check_weights

_MOST_LINES = 20


def check(
    store: Annotated[
        str, typer.Argument(help="File or URL of the store.", show_default="antifragile.db")
    ] = DEFAULT_STORE,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove what is damaged and can be run again; copies first."),
    ] = False,
    files: Annotated[
        Path | None, typer.Option(help="Folder of the kept weights.", show_default="STORE.files")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read all of a store and its kept weights and say what is damaged; exit code 1 if any is."""
    with Store(store, create=False, is_trusted=True) as opened:
        findings = _check(opened, files)
        is_repairing = repair and any(f.repair is not Repair.NONE for f in findings)
        copy = repair_store(opened, findings) if is_repairing else None
        left = _check(opened, files) if is_repairing else findings
        name, has_checksums = str(opened), opened.has_checksums
    if as_json:
        shown = [{"where": f.where, "what": f.what, "repair": str(f.repair)} for f in findings]
        print_json({"findings": shown, "left": len(left), "copy": str(copy) if copy else None})
    else:
        _print(name, [asdict(finding) for finding in findings], has_checksums=has_checksums)
        if repair and findings:
            _print_repair(len(findings) - len(left), [f.repair for f in left], copy)
    if left:
        raise typer.Exit(1)


def _check(store: Store, files: Path | None) -> list[Finding]:
    """Check a store, and, where its studies can be read, the weights that they kept."""
    if findings := check_store(store):
        return findings
    return [one for study in store.studies() for one in check_weights(store, study, files)]


def _print(name: str, findings: list[dict[str, object]], *, has_checksums: bool) -> None:
    out = stdout()
    if not findings:
        how = "" if has_checksums else " as far as can be told: an older program wrote it, without"
        out.print(f"store {name} is sound{how and how + ' checksums'}.", markup=False)
        return
    table = plain_table("where", "what", "to do")
    for finding in findings[:_MOST_LINES]:
        table.add_row(*(str(finding[key]) for key in ("where", "what", "repair")))
    out.print(table)
    if len(findings) > _MOST_LINES:
        out.print(f"and {len(findings) - _MOST_LINES:,} more.", markup=False)


def _print_repair(n_mended: int, left: list[Repair], copy: object) -> None:
    said = f"{n_mended:,} mended, {len(left):,} left"
    said += f"; the store as it was: {copy}." if copy else "."
    stdout().print(f"{said} Run the same commands again to fill the gaps.", markup=False)
