"""The verbs ``run`` and ``report`` as functions: a study of variants, and what it found.

    outcome = antifragile.ablate.run("variants", metric="json:{out}/metrics.json:loss", seeds=10)
    results = antifragile.ablate.report("variants")
    outcome.frame(), results.frame()

`run_options` and `outlook_of_options` do the same for options that the command line has read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from antifragile.ablate.options import taken, with_options
from antifragile.ablate.study.folder import AblationFolder, read_ablation_folder
from antifragile.ablate.study.manifest_files import load_manifest, write_manifest
from antifragile.ablate.study.options import AblationRunOptions, StudyOptions
from antifragile.ablate.study.repeat import (
    changed_variants,
    read_manifest,
    repeat_folder,
    repeat_request,
)
from antifragile.ablate.study.request import AblationRequest
from antifragile.ablate.study.results import AblationResults, read_results
from antifragile.ablate.study.running.outlook import AblationOutlook
from antifragile.ablate.study.running.runs import AblationListener
from antifragile.ablate.study.study import AblationOutcome, plan_ablation, run_ablation
from antifragile.store.ablation import AblationStore


@with_options(StudyOptions, AblationRunOptions)
def run(
    folder: str | Path, *, listener: AblationListener | None = None, **options: Any
) -> AblationOutcome:
    """Train every certified variant on paired seeds; what the store has is not run again.

    Args:
        folder: The folder that `generate` wrote.
        listener: Called after every run.
        options: Fields of `StudyOptions` and `AblationRunOptions`.

    Raises:
        UsageError: An option is unknown; the experiment fails on the baseline.
    """
    study, runs = taken(options, StudyOptions, AblationRunOptions)
    words = [repr(str(folder)), *(f"{name}={value!r}" for name, value in options.items())]
    command = f"antifragile.ablate.run({', '.join(words)})"
    return run_options(Path(folder), study, runs, listener=listener, command=command)


@with_options(StudyOptions, AblationRunOptions)
def outlook(folder: str | Path, **options: Any) -> AblationOutlook:
    """Count the runs that `run` would make, with their time and disk as far as known; run none.

    Args:
        folder: The folder that `generate` wrote.
        options: Fields of `StudyOptions` and `AblationRunOptions`.
    """
    study, runs = taken(options, StudyOptions, AblationRunOptions)
    return outlook_of_options(Path(folder), study, runs)


def report(source: str | Path, *, study: str | None = None) -> AblationResults:
    """Judge a study: the contribution of each component with its interval, and the checks.

    Args:
        source: A folder of variants, a manifest, or a store's file or URL.
        study: Name of the study; None for the only one.
    """
    manifest, folder = read_manifest(str(source), study)
    return read_results(manifest, changed_variants(manifest, folder))


def run_options(
    folder: Path,
    study: StudyOptions,
    runs: AblationRunOptions,
    *,
    listener: AblationListener | None,
    command: str,
) -> AblationOutcome:
    """Run a study, and write its manifest beside the variants unless it repeats another.

    Args:
        folder: The folder that `generate` wrote.
        study: The study.
        runs: Its store and processes.
        listener: Called after every run.
        command: Words of the user, for the manifest.
    """
    request, made = _asked(folder, study, runs)
    with AblationStore(_store_of(folder, runs)) as store:
        outcome = run_ablation(
            request, made, store, processes=runs.processes, listener=listener, command=command
        )
    if runs.manifest is None:
        write_manifest(outcome.manifest, folder)
    return outcome


def outlook_of_options(
    folder: Path, study: StudyOptions, runs: AblationRunOptions
) -> AblationOutlook:
    """Count the runs of a study; arguments as `run_options`."""
    request, made = _asked(folder, study, runs)
    with AblationStore(_store_of(folder, runs)) as store:
        return plan_ablation(request, made, store, processes=runs.processes)


def _asked(
    folder: Path, study: StudyOptions, runs: AblationRunOptions
) -> tuple[AblationRequest, AblationFolder]:
    """The study that is asked for, and its variants, which a manifest can bring back."""
    if runs.manifest is None:
        made = read_ablation_folder(folder, allows_changed=True)
        return study.request(runs.name, made), made
    then = load_manifest(Path(runs.manifest))
    repeat_folder(then, folder, workers=runs.workers)
    made = read_ablation_folder(folder, allows_changed=True)
    return repeat_request(
        then, made, name=runs.name, only=study.patterns, kinds=study.wanted_kinds
    ), made


def _store_of(folder: Path, runs: AblationRunOptions) -> str:
    return str(runs.store or folder / "ablation.db")
