"""What ``antifragile study plan`` prints."""

from __future__ import annotations

from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.study.live import clock
from antifragile.study.prediction import StudyPlan

_MIB, _GIB = 2**20, 2**30


def print_plan(plan: StudyPlan, *, as_json: bool) -> None:
    """Print a study's plan, a row per architecture and part with trials left."""
    if as_json:
        print_json(_values(plan))
        return
    table = plain_table()
    in_parts = any(row.modes != plan.spec.modes for row in plan.rows)
    headings = ["architecture", *(["modes"] if in_parts else []), "trials", "kernel", "together"]
    for heading in (*headings, "predicted", "memory", "why"):
        is_text = heading in ("architecture", "modes", "kernel", "why")
        table.add_column(heading, justify="left" if is_text else "right")
    for row in plan.rows:
        table.add_row(
            row.architecture,
            *([", ".join(row.modes)] if in_parts else []),
            str(row.trials),
            row.plan.kernel,
            str(row.plan.group_size),
            clock(row.seconds / plan.workers),
            f"{row.plan.memory_bytes / _MIB:,.0f} MiB",
            row.plan.reason,
        )
    stdout().print(table)
    stdout().print(
        f"\n{sum(row.trials for row in plan.rows)} trials left, predicted time "
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
        "rows": [
            {
                "architecture": row.architecture,
                "modes": list(row.modes),
                "trials": row.trials,
                "meta_loops": row.meta_loops,
                "kernel": row.plan.kernel,
                "group_size": row.plan.group_size,
                "predicted_seconds": row.seconds,
                "evaluation_seconds": row.evaluation_s,
                "memory_bytes": row.plan.memory_bytes,
                "reason": row.plan.reason,
            }
            for row in plan.rows
        ],
    }
