"""Repositories that nobody prepared, ablated by the command that trains them: time, space, repeats.

    python -m benchmarks.ablation.repositories [--only NAME ...] [--seeds 3] [--arms 4]
                                               [--workers 2] [--out FOLDER]

For each of the repositories of the tests a copy is made, and four commands are timed in it, as a
user would type them: `antifragile ablate discover --command`, `generate`, `run`, `report`. The arms
are the two that the tests name and then the next certified ones. Prints a Markdown table, a row as
soon as it is there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ablate.command.typed import REPOSITORIES, TYPED, Typed

KINDS = ("chargpt", "bert", "bn_lightning", "hydra", "vit", "package", "one_file")
CERTIFIED = ("certified", "certified-inactive-at-init")
COLUMNS = (
    ("repository", "---"),
    ("typed, after python", "---"),
    ("components", "--:"),
    ("of these ran", "--:"),
    ("variants", "--:"),
    ("certified", "--:"),
    ("discover s", "--:"),
    ("generate s", "--:"),
    ("run s", "--:"),
    ("report s", "--:"),
    ("runs", "--:"),
    ("failed", "--:"),
    ("variants MiB", "--:"),
    ("store MiB", "--:"),
    ("baseline repeated", "---"),
)


class Wrong(Exception):
    """A command ended with an error."""


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A command that has ended.

    Args:
        out: What it printed.
        seconds: Wall time.
    """

    out: str
    seconds: float


def main() -> None:
    """Ablate every repository, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=TYPED, default=KINDS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None, help="keep the repositories here")
    options = parser.parse_args()
    print_row([name for name, _ in COLUMNS])
    print_row([rule for _, rule in COLUMNS])
    with folder_for(options.out) as home:
        for name in options.only:
            try:
                print_row(
                    row_of(
                        name,
                        home / name,
                        seeds=options.seeds,
                        arms=options.arms,
                        workers=options.workers,
                    )
                )
            except Wrong as error:
                print(f"{name}: {error}", file=sys.stderr)


@contextmanager
def folder_for(out: Path | None) -> Iterator[Path]:
    """A folder for the copies: the one that is given, or one for now."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        yield out.resolve()
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch).resolve()


def row_of(name: str, home: Path, *, seeds: int, arms: int, workers: int) -> list[str]:
    """Ablate one repository.

    Args:
        name: Its name in the table of typed commands.
        home: Folder for its copy.
        seeds: Pairs of runs of each arm.
        arms: Variants that are run.
        workers: Processes at a time.

    Returns:
        The cells of its row.

    Raises:
        Wrong: A command ended with an error.
    """
    typed = TYPED[name]
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(REPOSITORIES / name, home)
    (home / ".git").mkdir()
    place = home / typed.folder
    several = ("--workers", str(workers))
    found = timed(place, "discover", "--command", typed.line, "--spec", "study.toml", "--json")
    made = timed(
        place,
        *("generate", "--spec", "study.toml", "--out", "variants"),
        *("--kinds", typed.kinds, "--json", *several),
    )
    variants = json.loads(made.out)["variants"]
    certified = [v["folder"] for v in variants if v["status"] in CERTIFIED]
    chosen = chosen_arms(typed, certified, arms)
    only = [word for arm in chosen for word in ("--only", arm)]
    ran = timed(
        place,
        *("run", "variants", "--metric", typed.metric, "--seeds", str(seeds)),
        *(*typed.options, *only, *several, "--json"),
        may_fail=True,
    )
    reported = timed(place, "report", "variants", "--format", "markdown")
    components = json.loads(found.out)["components"]
    runs = json.loads(ran.out)["runs"]
    store = bytes_below(place / "variants", "ablation.db*")
    return [
        name,
        f"`{typed.before} {typed.command}`".replace("` ", "`"),
        str(len(components)),
        str(sum(item["ran"] for item in components)),
        str(len(variants)),
        str(len(certified)),
        *(f"{ended.seconds:.1f}" for ended in (found, made, ran, reported)),
        str(len(runs)),
        str(sum(run["metrics"] is None for run in runs)),
        f"{(bytes_below(place, 'variants') - store) / 2**20:.2f}",
        f"{store / 2**20:.2f}",
        repeats_of(runs),
    ]


def chosen_arms(typed: Typed, certified: list[str], arms: int) -> list[str]:
    """Choose the arms: those that are named for the repository, then the next ones."""
    named = [arm for arm in typed.arms if arm in certified]
    return [*named, *(arm for arm in certified if arm not in named)][:arms]


def timed(place: Path, *words: str, may_fail: bool = False) -> Timed:
    """Run a command that a user types, in a folder.

    Args:
        place: The folder.
        words: The command, after ``antifragile ablate``.
        may_fail: Whether failed runs, exit code 1, are an answer.

    Raises:
        Wrong: It ended with an error.
    """
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "antifragile", "ablate", *words],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if ended.returncode and not (may_fail and ended.returncode == 1 and ended.stdout):
        raise Wrong(f"{words[0]} ended with exit code {ended.returncode}: {ended.stderr.strip()}")
    return Timed(out=ended.stdout, seconds=seconds)


def bytes_below(place: Path, pattern: str) -> int:
    """Bytes of all files of the folders and files that a pattern names."""
    paths = [path for top in place.glob(pattern) for path in (top, *top.rglob("*"))]
    return sum(path.stat().st_size for path in paths if path.is_file())


def repeats_of(runs: list[dict[str, Any]]) -> str:
    """Say in how many seeds the baseline gave the same numbers twice, to the last digit."""
    first = {run["seed"]: run["metrics"] for run in runs if is_baseline(run, "run")}
    again = {run["seed"]: run["metrics"] for run in runs if is_baseline(run, "repeat")}
    same = sum(metrics is not None and metrics == first[seed] for seed, metrics in again.items())
    return "identical" if same == len(again) else f"differs in {len(again) - same} of {len(again)}"


def is_baseline(run: dict[str, Any], role: str) -> bool:
    """Whether a run is the baseline's, in a role."""
    return not run["ablated"] and run["role"] == role


def print_row(cells: list[str]) -> None:
    """Print one row of the table."""
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
