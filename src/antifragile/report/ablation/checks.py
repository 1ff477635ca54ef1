"""The checks of an ablation study, which come before its tables, and commands to run it again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from antifragile._shown import listed_names
from antifragile.ablate.command.program import without_folder
from antifragile.ablate.study.manifest import AblationManifest, ManifestRun
from antifragile.ablate.study.manifest_files import MANIFEST
from antifragile.ablate.study.request import Role, TrainingProtocol
from antifragile.ablate.study.results import (
    AblationResults,
    ChangedVariants,
    ProtocolResult,
    differing_metrics,
)
from antifragile.analysis.inference.paired import PairedVerdict
from antifragile.report.table import Cell, Table, text_columns

FEWEST_SEEDS = 2  # that have a spread
_MOST_NOTES, _MOST_REASONS = 8, 3


def checks_table(results: AblationResults) -> Table:
    """Repeat, placebo, baseline and agreement of the protocols: how far to trust the rest."""
    rows: list[list[Cell]] = [["repeat", _repeat_words(results)]]
    if results.changed is not None:
        rows.insert(0, ["variants", _changed_words(results.changed)])
    n_arms, n_certified = len(results.manifest.arms), results.manifest.n_certified
    if n_certified is not None and n_arms < n_certified:
        rows.append(["chosen", _chosen_words(n_arms, n_certified)])
    if results.placebo is not None:
        rows.append(["placebo", _placebo_words(results)])
    for result in results.protocols:
        rows.append([f"baseline, {result.protocol}", _baseline_words(results, result)])
        if not result.questions and results.manifest.runs:
            rows.append([f"tables, {result.protocol}", "none yet: no seed has all runs of a row"])
    if results.rank is not None:
        r = results.rank
        words = f"rank correlation of {r.n_targets} contributions {r.rho:.2f} "
        words += f"({r.low:.2f} to {r.high:.2f}, seeds resampled)"
        rows.append(["retrain against post-hoc", words])
    rows += [["failed", words] for words in failure_words(results)]
    rows += [["diverged", words] for words in diverged_words(results)]
    rows += [["metrics", words] for words in differing_metrics(results.manifest)[:_MOST_NOTES]]
    return Table(
        title=f"{results.manifest.name}: checks before anything else",
        columns=text_columns("check", "finding"),
        rows=rows,
        notes=[again_note(results)],
    )


def again_note(results: AblationResults) -> str:
    """A command that runs a row again, or the study where rows belong together."""
    chosen = ["COMPONENT", "OTHER"][: results.traits.row_components]
    command = repeat_command(chosen, Path(results.manifest.folder), results.manifest)
    if results.changed is not None:
        return "Rows can be run again once the folder holds the variants that were run."
    if not chosen:
        return f"The study again, in a store of its own: {command}"
    return f"Any row again, with its certificate and diff in the folder of its name: {command}"


def repeat_command(arms: Sequence[str], folder: Path, manifest: AblationManifest) -> str:
    """The command that runs some ablations again, in a store of its own, and compares numbers."""
    file = str(folder / (manifest.file or MANIFEST))
    only = [word for arm in arms for word in ("--only", arm)]
    parts = ["antifragile", "ablate", "run", str(folder), "--manifest", file]
    return shlex.join([*parts, *only, "--store", "again.db"])


def _chosen_words(n_arms: int, n_certified: int) -> str:
    return (
        f"{n_arms} of {n_certified} certified variants (--only); Holm corrects for these alone, "
        "and what was run under another --only is not among them: choose together what is reported "
        "together, runs that the store has are not run again"
    )


def _changed_words(changed: ChangedVariants) -> str:
    here = "The numbers here are those of the variants that were run"
    if changed.reason:
        return f"{changed.folder} cannot be used as it is: {changed.reason} {here}"
    return (
        f"{changed.folder} no longer holds what was run: {listed_names(changed.names)} changed "
        f"since, or cannot be used. {here}; 'ablate run' measures the new ones"
    )


def _repeat_words(results: AblationResults) -> str:
    n, same = results.repeats
    if not n:
        return "not run"
    if same == n:
        return f"baseline run twice under {n} seed{'s' * (n > 1)}: identical"
    return (
        f"baseline run twice under {n} seeds: {n - same} differ, so the experiment is not "
        "deterministic and its pairing is weaker than it could be"
    )


def _placebo_words(results: AblationResults) -> str:
    assert results.placebo is not None
    if results.placebo.table.empty:
        return "failed"
    row = results.placebo.table.iloc[0]
    if row["verdict"] == PairedVerdict.IDENTICAL:
        reaches = "the batch order does" if _has_order(results) else "other random draws do"
        return f"identical: {reaches} not reach the training"
    is_found = results.is_placebo_found
    change = "in another batch order" if _has_order(results) else "with other random draws"
    warning = "; found to do something, which a sound study says of 1 in 20" if is_found else ""
    return f"baseline {change}: {_placebo_numbers(row)}, p {row['p']:.2g}{warning}"


def _placebo_numbers(row: pd.Series) -> str:
    """The placebo's difference and interval, as far as there are such."""
    if diverged := int(row["plus_infinite"] + row["minus_infinite"]):
        return f"one of the two diverged in {diverged} of {row['n']} pairs"
    if row["n"] < FEWEST_SEEDS:
        return f"{row['difference']:+.3g} under one seed, which has no spread"
    return f"{row['difference']:+.3g} ({row['low']:+.3g} to {row['high']:+.3g})"


def _has_order(results: AblationResults) -> bool:
    """Whether a placebo has another batch order; else it has other random draws alone."""
    command = results.manifest.experiment.command
    return command is None or command.command.takes("order")


def _baseline_words(results: AblationResults, result: ProtocolResult) -> str:
    baseline = result.baseline
    if not baseline.n:
        if any(is_baseline(run, result) for run in results.diverged):
            return "diverged in every seed that ended"
        is_failed = any(is_baseline(run, result) for run in results.failures)
        return "failed in every seed that ended" if is_failed else "no run yet"
    spread = f", standard deviation {baseline.spread:.3g}" if baseline.n > 1 else ""
    lost = sum(is_baseline(run, result) for run in results.diverged)
    diverged = f"; diverged under {lost} more" if lost else ""
    seeds = f"{baseline.n} seed{'s' * (baseline.n > 1)}"
    return f"{results.manifest.metric} {baseline.mean:.5g}{spread}, {seeds}{diverged}"


def is_baseline(run: ManifestRun, result: ProtocolResult) -> bool:
    """Whether a run is one of the baseline of a protocol."""
    return not run.ablated and run.role is Role.RUN and run.protocol is result.protocol


def failure_words(results: AblationResults) -> list[str]:
    """One sentence per arm with its reasons; of combinations, those that failed most often."""
    ended = Counter((run.label, run.protocol) for run in results.manifest.runs)
    failed: dict[tuple[str, TrainingProtocol], Counter[str]] = {}
    places: dict[tuple[str, TrainingProtocol, str], str] = {}  # the folder of a first run
    for run in results.failures:
        reason, place = without_folder(str(run.failure))
        first = places.setdefault((run.label, run.protocol, reason), place)
        failed.setdefault((run.label, run.protocol), Counter())[reason + first] += 1
    alone: list[str] = []
    combined: list[str] = []
    for (label, protocol), reasons in sorted(
        failed.items(), key=lambda item: (-item[1].total(), *item[0])
    ):
        n = ended[label, protocol]
        words = f"{label} ({protocol}), {reasons.total()} of {n} run{'s' * (n > 1)}: "
        words += _reason_words(reasons)
        (combined if " + " in label else alone).append(words)
    more = len(combined) - _MOST_NOTES
    return alone + combined[:_MOST_NOTES] + [f"{more} more combinations"] * (more > 0)


def diverged_words(results: AblationResults) -> list[str]:
    """A sentence per arm on runs whose metric is not finite, most of them first."""
    ended = Counter((run.label, run.protocol) for run in results.manifest.runs)
    diverged = Counter((run.label, run.protocol) for run in results.diverged)
    return [
        f"{label} ({protocol}), {n} of {ended[label, protocol]} runs: {results.manifest.metric} is "
        "not finite"
        for (label, protocol), n in sorted(diverged.items(), key=lambda item: (-item[1], item[0]))
    ]


def _reason_words(reasons: Counter[str]) -> str:
    """The most frequent reasons, with their numbers if there are several."""
    if len(reasons) == 1:
        return next(iter(reasons))
    listed = [
        f"{reason} ({n} times)" if n > 1 else reason
        for reason, n in reasons.most_common(_MOST_REASONS)
    ]
    more = len(reasons) - _MOST_REASONS
    return "; ".join(listed) + f"; {more} other reasons" * (more > 0)
