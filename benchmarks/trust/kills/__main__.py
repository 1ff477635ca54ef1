"""Kill every verb that writes at random moments, and count what is lost, changed or left.

    python -m benchmarks.trust.kills --count 100 --seed 1 --out kills.json

Each try starts a real command, sends SIGKILL (or TERM, INT, HUP, or STOP and CONT) to it or to its
process group at a random moment of its run, starts it again and hits it again, up to six times.
After each hit every file has to be whole and no process left; then the same command runs to its
end, and the result is compared, bit for bit, with that of a run without kills. Figures add up in
the file over several stretches.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from antifragile._files import write_atomically
from benchmarks.trust.kills.tries import SIGNALS, Outcome, Tries
from benchmarks.trust.kills.verbs import VERBS

KINDS = ("lost", "changed", "half-written", "left processes", "not finished")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run tries and print the table; 1 if any found a fault."""
    asked = _parser().parse_args(arguments)
    names = [name for name in VERBS if not asked.only or name in asked.only]
    done: list[dict[str, Any]] = _read(asked.out)
    scratch = Path(tempfile.mkdtemp(prefix="antifragile-kills-"))
    has_faults = False
    for outcome in _run(scratch, names, asked):
        done.append(asdict(outcome))
        if outcome.faults:
            has_faults = True
            print(json.dumps(done[-1], indent=1), flush=True)
        if asked.out is not None:
            write_atomically(asked.out, json.dumps(done, indent=1).encode() + b"\n")
    print(table(done))
    if not has_faults:
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if has_faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100, help="tries in this stretch")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most; then stop")
    parser.add_argument("--seed", type=int, default=1, help="of the first try; then one by one")
    parser.add_argument("--only", action="append", choices=VERBS, help="these verbs alone")
    parser.add_argument("--together", type=int, default=2, help="tries at a time")
    parser.add_argument("--out", type=Path, help="JSON file that the figures are added to")
    return parser


def _run(scratch: Path, names: Sequence[str], asked: argparse.Namespace) -> Iterator[Outcome]:
    """Yield outcomes as they come; verbs take turns."""
    began, tries = time.monotonic(), Tries(scratch)
    with ThreadPoolExecutor(asked.together) as pool:
        chosen = [names[number % len(names)] for number in range(asked.count)]
        used = list(dict.fromkeys(chosen))
        for name in used:
            tries.base(VERBS[name].base)
        references = dict(zip(used, pool.map(tries.reference, used), strict=True))

        def one(number: int, name: str) -> Outcome | None:
            if time.monotonic() - began > asked.seconds:
                return None
            return tries.run(name, references[name], asked.seed + number)

        for outcome in pool.map(one, count(), chosen):
            if outcome is not None:
                yield outcome


def _read(path: Path | None) -> list[dict[str, Any]]:
    return json.loads(path.read_text()) if path is not None and path.exists() else []


def table(outcomes: Sequence[dict[str, Any]]) -> str:
    """Tries, hits by signal, and faults of each verb, as Markdown."""
    columns = ["command", "tries", *SIGNALS, *KINDS]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in [*sorted({item["verb"] for item in outcomes}), "all"]:
        rows = [item for item in outcomes if name in (item["verb"], "all")]
        hits = [sum(row["hits"].count(signal) for row in rows) for signal in SIGNALS]
        faults = [sum(kind in row["faults"] for row in rows) for kind in KINDS]
        lines.append(f"| {name} | {' | '.join(map(str, [len(rows), *hits, *faults]))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
