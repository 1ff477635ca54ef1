"""The first runs of a study, by which what is wrong with the experiment is said at once.

the baseline                      fails, lacks the metric, diverges, or takes too much memory
of a command the next seed too    is the same run under every seed
"""

from __future__ import annotations

from contextlib import suppress

from antifragile._shown import sentence
from antifragile.ablate.command.proof import constants
from antifragile.ablate.designs.base import BASELINE
from antifragile.ablate.study.request import PlannedRun
from antifragile.ablate.study.results import is_diverged, metric_fault
from antifragile.ablate.study.running.launches import CommandRuns
from antifragile.ablate.study.running.runs import AblationRuns, RunFailed
from antifragile.errors import UsageError
from antifragile.study.machine import available_memory


def run_first(runs: AblationRuns, workers: int) -> str:
    """Run the baseline before all others, and check what it did.

    Args:
        runs: The study's runs.
        workers: Runs at a time.

    Returns:
        The name of the judged metric.

    Raises:
        UsageError: The experiment fails on the baseline or is of no use; the sentence says why.
    """
    seeds = runs.request.seeds
    first = PlannedRun(ablated=BASELINE, seed=seeds[0])
    with suppress(RunFailed):  # said below, with the exit code of an error
        runs.complete([first])
    run = runs.ended[first]
    if run.metrics is None:
        raise UsageError(sentence(f"the experiment fails on the baseline: {run.failure}"))
    metric = runs.request.metric or next(iter(run.metrics))
    if fault := metric_fault(run.metrics, metric):
        raise UsageError(sentence(f"the experiment fails on the baseline: {fault}"))
    if is_diverged(run.metrics, metric):
        raise UsageError(
            f"the experiment fails on the baseline: metric {metric!r} is "
            f"{run.metrics[metric]:.3g}, the training diverged."
        )
    if (launches := runs.launches) is not None:
        _check_memory(launches.notes_of(first).peak_bytes, workers)
        if len(seeds) > 1:
            _check_seeds(runs, launches, first, PlannedRun(ablated=BASELINE, seed=seeds[1]))
    return metric


def _check_memory(each: int, workers: int) -> None:
    """Refuse as many runs at a time as the memory does not hold, by what one has taken."""
    free = available_memory()
    if workers > 1 and free is not None and workers * each > free:
        raise UsageError(
            f"a run takes {each / 2**30:.1f} GiB, and {workers} at a time more than the "
            f"{free / 2**30:.1f} GiB that are free; give --workers {max(1, free // each)}."
        )


def _check_seeds(
    runs: AblationRuns, launches: CommandRuns, first: PlannedRun, second: PlannedRun
) -> None:
    """Find out whether a command is the same run under every seed, as it seeds itself."""
    runs.complete([second])
    if runs.ended[first].metrics != runs.ended[second].metrics:
        return
    found = constants(launches.notes_of(first), launches.notes_of(second))
    same = f"the baseline gives the same numbers under seeds {first.seed} and {second.seed}"
    if found:
        raise UsageError(
            f"{same}: the script seeds itself with {', '.join(found[:3])}. Let the command "
            "take {seed}, or give --reseed to mix the seed into such constants."
        )
    runs.notes.append(f"{same}; does the command take {{seed}}, and does it matter?")
