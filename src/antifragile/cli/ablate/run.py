"""``antifragile ablate run``: train generated variants on paired seeds."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from antifragile._shown import show_address
from antifragile.ablate.study.manifest import AblationManifest
from antifragile.ablate.study.manifest_files import load_manifest
from antifragile.ablate.study.repeat import differences
from antifragile.ablate.study.results import read_results
from antifragile.ablate.study.running.outlook import AblationOutlook
from antifragile.ablate.study.running.runs import AblationProgress
from antifragile.ablate.study.study import AblationOutcome
from antifragile.ablate.study.verbs import outlook_of_options, run_options
from antifragile.cli.ablate.choices import AblationRunFlags, StudyFlags
from antifragile.cli.console import print_json, stderr, stdout
from antifragile.cli.options import JsonOption
from antifragile.cli.study.live import clock
from antifragile.report.ablation.tables import ablation_tables
from antifragile.report.table import as_rich

_LINE_EVERY_S = 10.0


def run(
    *,
    folder: Annotated[
        Path, typer.Argument(help="What 'ablate generate' wrote.", show_default=False)
    ],
    study: StudyFlags,
    runs: AblationRunFlags,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say how many runs, how long, how much disk."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train every certified variant on paired seeds and say what each component was worth.

    Finished runs are never repeated: run the same command again to go on, or to try failed ones.
    The exit code is 1 when runs failed.
    """
    if dry_run:
        _print_outlook(outlook_of_options(folder, study, runs), runs.workers, as_json=as_json)
        return
    command = f"antifragile {shlex.join(map(show_address, sys.argv[1:]))}"
    with _ProgressLine() as line:
        outcome = run_options(folder, study, runs, listener=line, command=command)
    for sentence in outcome.notes:
        stderr().print(f"note: {sentence}", soft_wrap=True)
    then = None if runs.manifest is None else load_manifest(runs.manifest)
    _print_outcome(outcome, then, as_json=as_json)
    if outcome.n_failed:
        raise typer.Exit(1)


def _print_outcome(
    outcome: AblationOutcome, then: AblationManifest | None, *, as_json: bool
) -> None:
    if as_json:
        print_json(outcome.manifest.to_json())
        return
    results = read_results(outcome.manifest)
    for table in ablation_tables(results):
        stdout().print(as_rich(table))
        stdout().print()
    failed = f", {outcome.n_failed} failed" if outcome.n_failed else ""
    refused = f", {outcome.n_refused} not run" if outcome.n_refused else ""
    faults = sum(run.metrics is not None for run in results.failures)
    failed += f", {faults} without the metric" if faults else ""
    failed += f", {len(results.diverged)} diverged" if results.diverged else ""
    stdout().print(
        f"{outcome.n_run} runs{failed}, {outcome.n_found} found in the store{refused}, "
        f"{outcome.seconds:.1f} s."
    )
    if then is not None:
        compared, found = differences(outcome.manifest, then)
        same = f"{compared - len(found)} of {compared} runs give the manifest's numbers exactly."
        stdout().print("\n".join([same, *found]), soft_wrap=True)


def _print_outlook(outlook: AblationOutlook, workers: int, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(outlook))
        return
    n_missing = outlook.n_wanted - outlook.n_found
    least = "At least " if outlook.is_least else ""
    n_variants = outlook.n_wanted - outlook.n_baseline - outlook.n_checks
    said = [
        f"{least}{outlook.n_wanted} runs ({outlook.n_baseline} of the baseline, {outlook.n_checks} "
        f"checks of it, {n_variants} of variants), {outlook.n_found} of them in the store."
    ]
    if n_missing and math.isfinite(outlook.seconds_each):
        seconds = math.ceil(n_missing / workers) * outlook.seconds_each
        words = f"The {'other ' if outlook.n_found else ''}{n_missing} take about {clock(seconds)}"
        if math.isfinite(outlook.bytes_each):
            words += f" and {n_missing * outlook.bytes_each / 2**20:,.1f} MiB of disk"
        those = "those in the store" if outlook.n_found else "earlier runs, with other files"
        said.append(f"{words}, by the mean of {those} ({outlook.seconds_each:.1f} s).")
    elif n_missing:
        said.append("How long they take is known when the first has ended: run, and ask again.")
    if not outlook.can_show:
        said.append(
            f"So few seeds can show no difference after Holm: the smallest p is "
            f"{outlook.smallest_p:.2g}, the first threshold {outlook.first_threshold:.2g}; "
            f"{outlook.seeds_needed} seeds could. Intervals hold for each row alone."
        )
    said += [f"note: {sentence}" for sentence in outlook.notes]
    stdout().print("\n".join(said), soft_wrap=True)


class _ProgressLine:
    """A listener that rewrites one line on a terminal; elsewhere it prints one every 10 s."""

    def __init__(self) -> None:
        self._console = stderr()
        self._at = float("-inf")

    def __enter__(self) -> _ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._console.print(" " * (self._console.width - 1), end="\r")

    def __call__(self, progress: AblationProgress) -> None:
        failed = f", {progress.failed} failed" if progress.failed else ""
        last = f"last {progress.last}" if progress.last else "under way"
        line = f"{progress.ended} of {progress.wanted} {progress.what}{failed}; {last}"
        if self._console.is_terminal:
            width = self._console.width - 1
            self._console.print(line[:width].ljust(width), end="\r")
        elif progress.last and progress.seconds - self._at >= _LINE_EVERY_S:
            self._at = progress.seconds
            self._console.print(line, soft_wrap=True)
