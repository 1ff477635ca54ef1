"""Section of docs/theory.md: chances of escape per meta-loop, PSA beside random search.

    python -m benchmarks.beyond.hazard controls.db

A trial escapes in the first meta-loop in which its bounty exceeds ZeroR by a tenth of the room
above it. The hazard is the chance of that in a meta-loop of a trial that has not escaped before:
escapes over meta-loops at risk, with Clopper and Pearson's interval. If it is constant, PSA is a
random search whose draws are the meta-loops, and the number of loops until escape is geometric;
that is tested by Fisher's exact test of loops 2 to 20 against loops 21 to 100.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from antifragile.analysis.regimes.complete import learned_above
from antifragile.analysis.source import Source, open_source
from benchmarks.claims.evidence import fisher, rate
from benchmarks.section import write_section

EARLY = 20
TRIAL = ["architecture", "mode", "trial"]


def escape_loops(source: Source) -> pd.DataFrame:
    """First meta-loop above the threshold of every trial (infinite for none), and its last one."""
    assert source.meta_loops is not None
    loops = source.meta_loops
    above = loops["bounty_accuracy"] > learned_above(source.zero_r)
    escaped = loops[above].groupby(TRIAL, sort=False)["meta_loop"].min()
    last = loops.groupby(TRIAL, sort=False)["meta_loop"].max()
    found = pd.DataFrame({"last": last, "escaped": escaped.reindex(last.index)})
    return found.fillna({"escaped": np.inf}).reset_index()


def hazard(trials: pd.DataFrame, first: int, last: int) -> tuple[int, int]:
    """Escapes in these meta-loops, and meta-loops of trials that had not escaped before."""
    escaped, ends = trials["escaped"].to_numpy(), trials["last"].to_numpy()
    ends = np.minimum(np.minimum(ends, last), escaped)
    at_risk = np.maximum(ends - first + 1, 0).sum()
    events = ((escaped >= first) & (escaped <= last)).sum()
    return int(events), int(at_risk)


def markdown(trials: pd.DataFrame) -> str:
    """A table for each architecture, a row for each arm."""
    lines: list[str] = []
    for architecture, rows in trials.groupby("architecture", sort=False):
        lines += [
            f"**{architecture}**",
            "",
            "| arm | escaped in loop 1 | in all | escapes a loop, loops 2 to 100 (95 %) "
            f"| loops 2 to {EARLY} | loops {EARLY + 1} to 100 | p of a constant rate |",
            "|---|---|---|---|---|---|---|",
        ]
        for mode, cell in rows.groupby("mode", sort=False):
            first = int((cell["escaped"] == 1).sum())
            all_ = int(np.isfinite(cell["escaped"]).sum())
            early, late = hazard(cell, 2, EARLY), hazard(cell, EARLY + 1, 100)
            whole = hazard(cell, 2, 100)
            p = f"{fisher(early, late):.2g}" if early[0] + late[0] and late[1] else "-"
            lines.append(
                f"| {mode} | {first}/{len(cell)} | {all_}/{len(cell)} "
                f"| {rate(*whole) if whole[1] else '-'} | {early[0]}/{early[1]} "
                f"| {late[0]}/{late[1]} | {p} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--out", type=Path, default=Path("docs/theory.md"))
    options = parser.parse_args()
    source = open_source(options.store)
    write_section(
        options.out,
        "Escapes per meta-loop",
        f"""`studies/beyond/{source.name}.toml`, made by `python -m benchmarks.beyond.hazard`.

{markdown(escape_loops(source))}""",
    )


if __name__ == "__main__":
    main()
