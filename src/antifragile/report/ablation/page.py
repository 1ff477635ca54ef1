"""The page of an ablation study: one HTML file in the style of the study's page.

Rows link to the ablation they are about: its diff is in the page, its certificate and files lie in
the folder of variants beside it, and the one command that runs it again stands with them.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from antifragile import __version__
from antifragile._data_files import read_json
from antifragile._files import write_output
from antifragile.ablate.designs.base import CONTRIBUTION
from antifragile.ablate.generation.emit import BASELINE
from antifragile.ablate.study.folder import Arm
from antifragile.ablate.study.manifest import AblationManifest
from antifragile.ablate.study.results import AblationResults
from antifragile.report.ablation.checks import checks_table, repeat_command
from antifragile.report.ablation.figure import contributions_figure
from antifragile.report.ablation.tables import ablation_tables, arm_kind
from antifragile.report.page.facts import Fact, duration_words
from antifragile.report.page.page import embed_json, page_environment, template_text
from antifragile.report.style import encode_figure
from antifragile.report.table import Column, Table

_SCRIPTS = ("common.js", "tables.js")
_FURTHER = ("n", "effect size", "p", "smallest p", "Holm", "equivalence")


@dataclass(frozen=True, kw_only=True)
class ArmView:
    """One ablation on the page.

    Args:
        name: Its folder; also the anchor that rows link to.
        heading: Component and kind.
        diff: The change, or empty when its file is gone.
        checks: (check, finding) of its certificate.
        command: Runs its pairs again and compares them with the manifest.
        links: (text, address relative to the page) of files that are there.
    """

    name: str
    heading: str
    diff: str
    checks: list[tuple[str, str]]
    command: str
    links: list[tuple[str, str]]


def write_ablation_page(results: AblationResults, path: Path, folder: Path) -> Path:
    """Write the page, whole or not at all.

    Args:
        results: The study.
        path: The HTML file.
        folder: The folder of variants, for diffs and certificates.

    Raises:
        WorldError: The place cannot be written.
    """
    manifest = results.manifest
    shown = manifest.to_json()
    del shown["runs"]  # thousands of lines
    anchors = {(arm.component, arm_kind(arm)): arm.name for arm in manifest.arms}
    html = (
        page_environment()
        .get_template("ablation.html.j2")
        .render(
            title=manifest.name,
            lead=_lead(results),
            checks=checks_table(results).rows,
            figure=_figure(results),
            tables=[_verdict_first(table) for table in ablation_tables(results)[1:]],
            class_of=_class_of,
            line_class=_line_class,
            anchors=anchors,
            anchor_of=lambda row: anchors.get((str(row[0]), str(row[1]))),
            arms=[_arm_view(arm, folder, path, results) for arm in manifest.arms],
            combinations=_combinations(manifest, folder, path),
            left_out=manifest.left_out,
            facts=_facts(results),
            manifest=json.dumps(shown, indent=2, sort_keys=True),
            style=Markup(template_text("page.css")),
            script=Markup("\n".join(template_text(name) for name in _SCRIPTS)),
            data=Markup(embed_json({})),
        )
    )
    write_output(path, html.encode())
    return path


def _verdict_first(table: Table) -> Table:
    """The columns in the order in which a reader may lose them on a narrow screen."""
    places = sorted(
        range(len(table.columns)), key=lambda place: table.columns[place].name in _FURTHER
    )  # stable: the verdict, last of the rest, comes before what goes first
    return replace(
        table,
        columns=[table.columns[n] for n in places],
        rows=[[row[n] for n in places] for row in table.rows],
    )


def _class_of(column: Column) -> str:
    """CSS classes of a cell: numbers stand right, what a narrow screen leaves out is marked."""
    words = {"number": not column.is_text, "further": column.name in _FURTHER}
    return " ".join(word for word, holds in words.items() if holds)


def _line_class(line: str) -> str:
    """CSS class of a line of a diff."""
    is_heading = line.startswith(("+++", "---"))
    return "" if is_heading else {"+": "added", "-": "removed"}.get(line[:1], "")


def _combinations(
    manifest: AblationManifest, folder: Path, page: Path
) -> list[tuple[str, str, str | None]]:
    """(ablations, finding, address of the change) of each combination that was judged."""
    found = []
    for item in manifest.combinations or ():
        diff = folder / item.folder / "change.diff"
        is_there = bool(item.folder) and diff.is_file()
        name, finding = " + ".join(item.ablated), f"{item.verdict}: {item.reason}"
        found.append((name, finding, _address(diff, page) if is_there else None))
    return found


def _figure(results: AblationResults) -> str | None:
    if not any(len(result.judged.of(CONTRIBUTION)) for result in results.protocols[:1]):
        return None
    svg = encode_figure(contributions_figure(results), "svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _lead(results: AblationResults) -> str:
    manifest = results.manifest
    n_runs = sum(run.metrics is not None for run in manifest.runs)
    protocols = " and ".join(manifest.protocols)
    return (
        f"{len(manifest.arms)} ablations, design {manifest.design}, {protocols}; "
        f"{n_runs:,} finished runs on paired seeds."
    )


def _arm_view(arm: Arm, folder: Path, page: Path, results: AblationResults) -> ArmView:
    place = folder / arm.name
    changed = () if results.changed is None else results.changed.names
    is_there = not {arm.name, BASELINE} & {*changed}  # else it is another change's
    chosen = [arm.name] if results.traits.row_components else []
    files = ("change.diff", "certificate.json", "variant.toml")
    return ArmView(
        name=arm.name,
        heading=f"{arm.component}, {arm_kind(arm)}",
        diff=_text(place / "change.diff") if is_there else "",
        checks=_checks(place / "certificate.json") if is_there else [],
        command=repeat_command(chosen, folder, results.manifest),
        links=[
            (file, _address(place / file, page))
            for file in files
            if is_there and (place / file).is_file()
        ],
    )


def _address(file: Path, page: Path) -> str:
    return quote(Path(os.path.relpath(file.resolve(), page.resolve().parent)).as_posix())


def _checks(path: Path) -> list[tuple[str, str]]:
    if not path.is_file():
        return []
    try:
        certificate = read_json(path)
        checks = [(str(k), str(v)) for k, v in certificate["checks"].items()]
        return [("verdict", f"{certificate['verdict']}: {certificate['reason']}"), *checks]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, ValueError):
        return ""


def _facts(results: AblationResults) -> list[Fact]:
    manifest = results.manifest
    runs, experiment, judged = manifest.runs, manifest.experiment, manifest.judgement
    seconds = sum(run.seconds or 0.0 for run in runs)
    what = experiment.file or f"built-in classifier on {experiment.dataset}"
    machine = f"{manifest.environment.machine}, {manifest.environment.device}"
    return [
        Fact(label="report written by", value=f"antifragile {__version__}"),
        Fact(label="experiment", value=f"{what} ({experiment.sha256[:12]})"),
        Fact(label="model", value=", ".join(manifest.project.source)),
        Fact(label="seeds", value=", ".join(map(str, manifest.seeds))),
        Fact(label="level", value=f"{judged.alpha:g}, margin {judged.margin or 'none'}"),
        Fact(label="duration", value=f"{duration_words(seconds)} over {len(runs):,} runs"),
        Fact(label="machine", value=machine),
        Fact(label="versions", value=", ".join(f"{k} {v}" for k, v in manifest.versions.items())),
        Fact(label="command", value=manifest.command),
    ]
