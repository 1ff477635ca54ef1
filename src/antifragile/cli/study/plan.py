"""Output of ``antifragile study plan``."""

from __future__ import annotations

from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.study.live import clock
from antifragile.study.plan import PlanRow, StudyPlan

_MIB, _GIB = 2**20, 2**30


def print_plan(plan: StudyPlan, *, as_json: bool) -> None:
    """Print a study's plan, a row per architecture and update equation with trials left."""
    if as_json:
        print_json(_values(plan))
        return
    are_split = any(row.training.equation.modes != plan.spec.modes for row in plan.rows_left)
    modes = ["modes"] if are_split else []
    sizes = (">trials", "kernel", ">together", ">predicted", ">memory")
    table = plain_table("architecture", *modes, *sizes, "why")
    for row in plan.rows_left:
        fleet = row.training.fleet
        table.add_row(
            row.training.work.architecture.name,
            *([", ".join(row.training.equation.modes)] if are_split else []),
            str(len(row.trials)),
            fleet.kernel,
            str(fleet.group_size),
            clock(row.seconds / plan.workers),
            f"{fleet.memory_bytes / _MIB:,.0f} MiB",
            fleet.reason,
        )
    stdout().print(table)
    stdout().print(
        f"\n{sum(len(row.trials) for row in plan.rows)} trials left, predicted time "
        f"{clock(plan.seconds)} with {plan.workers} worker(s), memory "
        f"{plan.memory_bytes / _GIB:.2f} GiB besides the libraries' own.\n"
        "together: trials that share a batch. The times rest on rates measured on one machine; "
        "'antifragile bench' measures this one."
    )


def _values(plan: StudyPlan) -> dict[str, object]:
    return {
        "study": plan.spec.name,
        "workers": plan.workers,
        "predicted_seconds": plan.seconds,
        "memory_bytes": plan.memory_bytes,
        "rows": [_row_values(row) for row in plan.rows_left],
    }


def _row_values(row: PlanRow) -> dict[str, object]:
    fleet = row.training.fleet
    return {
        "architecture": row.training.work.architecture.name,
        "modes": list(row.training.equation.modes),
        "trials": len(row.trials),
        "meta_loops": row.meta_loops,
        "kernel": fleet.kernel,
        "group_size": fleet.group_size,
        "predicted_seconds": row.seconds,
        "evaluation_seconds": row.evaluation_s,
        "memory_bytes": fleet.memory_bytes,
        "reason": fleet.reason,
    }
