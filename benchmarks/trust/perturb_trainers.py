"""Every preset in every trainer: does it train what a loop by hand trains?

    python -m benchmarks.trust.perturb_trainers [--write docs/perturbation.md]

Every cell is run: twelve steps of a small network, and the same of a twin in which what the trainer
does is written out by hand. Columns whose package is not installed are left out.
"""

from __future__ import annotations

import argparse
import logging
import re
from importlib.util import find_spec
from pathlib import Path

import torch

from antifragile.optim import PRESETS
from benchmarks.section import write_section
from benchmarks.trust.trainers import loops, packages, processes
from benchmarks.trust.trainers.judging import Judged, judge

HEADING = "Presets in trainers"
COLUMNS = (
    "plain",
    "accumulation",
    "clipping",
    "GradScaler",
    "scheduler",
    *packages.CASES,
    *processes.COLUMNS,
    "DCP",
    "torch.compile",
    "EMA/SWA",
    "deepcopy",
    "restarts",
)
TEXT = """\
`python -m benchmarks.trust.perturb_trainers --write docs/perturbation.md`, torch {version} on the
CPU; a test runs every cell again. Twelve steps of a small network with SGD and momentum, and the
same of a twin in which what the column names is written out by hand: two gradients added,
gradients multiplied, the rate set, weights averaged from copies that were kept, gradients
averaged over two gloo processes (DDP), or the loop itself (trainers, GradScaler,
`torch.compile`). *plain* and *DCP* stop after five steps, save, load into fresh objects and go
on; *deepcopy* also copies the model before each step, while a perturbation is in; *restarts* are
three trainings in one process. *exact*: equal to the twin bit for bit. *refused*: a `UsageError`
with the sentence of that number. `sam` and `asam` get a closure where the trainer takes one.
"""


def column(name: str) -> dict[str, Judged] | None:
    """Judge every preset in one trainer; None where its package is not installed."""
    if name in loops.CASES:
        case = loops.CASES[name]
    else:
        package, case = packages.CASES[name]
        if find_spec(package) is None:
            return None
    return {preset: judge(case, preset) for preset in PRESETS}


def all_columns() -> dict[str, dict[str, Judged]]:
    """Judge every preset in every trainer that is installed."""
    shared = processes.run_in_two_processes()
    found = {name: shared[name] if name in shared else column(name) for name in COLUMNS}
    return {name: cells for name, cells in found.items() if cells is not None}


def table(found: dict[str, dict[str, Judged]]) -> str:
    """Format the verdicts as a Markdown table with the sentences of the refusals below."""
    numbers: dict[str, int] = {}

    def cell(judged: Judged) -> str:
        if judged.word != "refused":
            return judged.word
        number = numbers.setdefault(general(judged.sentence), len(numbers) + 1)
        return f"refused ({number})"

    rows = [f"| preset | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for preset in PRESETS:
        rows.append(f"| `{preset}` | {' | '.join(cell(found[name][preset]) for name in found)} |")
    notes = [f"{number}. {sentence}" for sentence, number in numbers.items()]
    return "\n".join([*rows, "", *notes])


def general(sentence: str) -> str:
    """Leave the name of the parameter out of a sentence."""
    return re.sub(r"^parameter \S+ ?\S* is a", "parameter ... is a", sentence)


def main() -> None:
    """Print the table, or write it into a document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="document whose section is replaced")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    text = f"{TEXT.format(version=torch.__version__)}\n{table(all_columns())}"
    if options.write is None:
        print(text)
    else:
        write_section(options.write, HEADING, text)


if __name__ == "__main__":
    main()
