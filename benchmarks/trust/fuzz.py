"""Broken inputs to every reader, in one process, and to every verb, as real commands.

    python -m benchmarks.trust.fuzz --count 20000 --out fuzz.json
    python -m benchmarks.trust.fuzz --count 0 --commands 200 --out fuzz.json

Every input is a good one, changed in a few places by a generator with a seed, a name and a number,
so that each can be made again. A reader may take what it is given or refuse it in a sentence; a
command must end within 20 s with exit code 0, 1 or 2, without a traceback or the words "internal
error". Anything else is a fault, and its input is kept in the folder of the work.

``--out`` is read first and added to, so that a long run may be cut into stretches.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from antifragile._files import write_atomically
from antifragile._shown import cut, visible
from antifragile.errors import AntifragileError
from benchmarks.trust.fuzzing.commands import Command, all_commands
from benchmarks.trust.fuzzing.material import prepare
from benchmarks.trust.fuzzing.readers import Reader, all_readers

TIME_LIMIT_S = 20
_SAVE_EVERY_S = 10


@dataclass(kw_only=True)
class Tally:
    """What became of the inputs of a reader or a verb, so far.

    Args:
        inputs: Inputs tried; the number of the next one.
        refused: Those refused in a sentence.
        accepted: Those that were good enough.
        slowest_s: Longest time of one.
        faults: (number of the input, what happened) of all others.
    """

    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    faults: list[tuple[int, str]] = field(default_factory=list)


class TooSlowError(Exception):
    """An input took more than the time limit."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlowError` after so many seconds of processor time, or five times as many."""

    def stop(*_: object) -> None:
        raise TooSlowError(f"over {seconds} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 5))
    before = [signal.signal(number, stop) for number, *_ in timers]
    for _, timer, times in timers:
        signal.setitimer(timer, times * seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def try_reader(reader: Reader, number: int, seed: int, kept: Path) -> tuple[str, str]:
    """Give a reader one input.

    Args:
        reader: The reader.
        number: The input's number.
        seed: Seed of the whole run.
        kept: Folder in which the input of a fault is kept.

    Returns:
        ``"refused"``, ``"accepted"`` or ``"fault"``, and the sentence or what happened.
    """
    rng = random.Random(f"{seed} {reader.name} {number}")
    folder = Path(tempfile.mkdtemp(prefix="antifragile-fuzz-"))
    given: Any = None
    try:
        given = reader.write(folder, rng)
        with time_limit(TIME_LIMIT_S), warnings.catch_warnings():
            warnings.simplefilter("error")
            reader.read(given)
        return "accepted", ""
    except AntifragileError as error:
        return "refused", str(error)
    except Exception as error:  # whatever else a reader raises is the finding
        _keep(folder, given, kept / f"{reader.name} {number}")
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "fault", f"{error!r:.300} in {Path(where.filename).name}:{where.lineno}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: Path, given: object, place: Path) -> None:
    shutil.copytree(folder, place, dirs_exist_ok=True, symlinks=True)
    if not isinstance(given, Path):
        (place / "given").write_text(repr(given))


def run_readers(
    readers: tuple[Reader, ...],
    tallies: dict[str, Tally],
    options: Options,
    save: Callable[[], None],
) -> None:
    """Give every reader its share of the inputs that are still to be tried."""
    parts = sum(reader.share for reader in readers)
    saved_at = time.monotonic()
    for reader in readers:
        tally = tallies.setdefault(reader.name, Tally())
        wanted = -(-options.count * reader.share // parts)
        while tally.inputs < wanted and not options.is_over:
            began = time.monotonic()
            outcome, said = try_reader(reader, tally.inputs, options.seed, options.work / "faults")
            note(tally, outcome, said, time.monotonic() - began)
            if time.monotonic() - saved_at > _SAVE_EVERY_S:
                save()
                saved_at = time.monotonic()
    save()


def run_commands(
    commands: tuple[Command, ...],
    tallies: dict[str, Tally],
    options: Options,
    save: Callable[[], None],
) -> None:
    """Run every verb on broken inputs, a round of all verbs at a time."""
    for number in range(options.commands):
        for command in commands:
            tally = tallies.setdefault(command.name, Tally())
            if tally.inputs <= number and not options.is_over:
                began = time.monotonic()
                outcome, said = command.try_one(number, options.seed, options.work / "faults")
                note(tally, outcome, said, time.monotonic() - began)
        save()


def note(tally: Tally, outcome: str, said: str, seconds: float) -> None:
    """Count one input; print a fault that is new."""
    if outcome == "refused":
        tally.refused += 1
    elif outcome == "accepted":
        tally.accepted += 1
    else:
        if said not in [known for _, known in tally.faults]:
            print(f"fault {tally.inputs}: {cut(visible(said))}", file=sys.stderr)
        tally.faults.append((tally.inputs, said))
    tally.slowest_s = max(tally.slowest_s, round(seconds, 2))
    tally.inputs += 1


@dataclass(kw_only=True)
class Options:
    """What is to be tried.

    Args:
        count: Inputs of all readers together.
        commands: Inputs of each verb.
        seed: Seed of the inputs.
        work: Folder of the good inputs and of those that were faults.
        ends_at: When to stop, in `time.monotonic`.
    """

    count: int
    commands: int
    seed: int
    work: Path
    ends_at: float

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() >= self.ends_at


def load_tallies(path: Path | None, seed: int) -> dict[str, dict[str, Tally]]:
    """The tallies of former stretches with this seed, by ``readers`` and ``verbs``."""
    if path is None or not path.exists():
        return {"readers": {}, "verbs": {}}
    data = json.loads(path.read_text())
    if data["seed"] != seed:
        raise SystemExit(f"{path} is of --seed {data['seed']}; give that, or another --out.")
    return {
        kind: {name: Tally(**values) for name, values in data[kind].items()}
        for kind in ("readers", "verbs")
    }


def print_table(kind: str, tallies: dict[str, Tally]) -> None:
    """Print a Markdown table with a row for each reader or verb that was tried."""
    tallies = {name: tally for name, tally in tallies.items() if tally.inputs}
    print(f"\n| {kind} | inputs | refused in a sentence | accepted | faults | slowest, s |")
    print("|---|---|---|---|---|---|")
    for name, tally in tallies.items():
        print(
            f"| {name} | {tally.inputs:,} | {tally.refused:,} | {tally.accepted:,} "
            f"| {len(tally.faults)} | {tally.slowest_s:.1f} |"
        )
    columns = [(t.inputs, t.refused, t.accepted, len(t.faults)) for t in tallies.values()]
    if columns:
        total = " | ".join(f"{sum(column):,}" for column in zip(*columns, strict=True))
        print(f"| all | {total} | {max(t.slowest_s for t in tallies.values()):.1f} |")


def main(arguments: list[str] | None = None) -> int:
    """Try inputs, print the tables, and return 1 where there were faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="inputs of all readers together")
    parser.add_argument("--commands", type=int, default=0, help="inputs of each verb")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON of the figures; added to when it is there")
    parser.add_argument("--work", type=Path, default=Path("fuzz-work"), help="folder of the inputs")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    given = parser.parse_args(arguments)
    options = Options(
        count=given.count,
        commands=given.commands,
        seed=given.seed,
        work=given.work.absolute(),
        ends_at=time.monotonic() + 60 * given.minutes,
    )
    tallies = load_tallies(given.out, given.seed)

    def save() -> None:
        if given.out is not None:
            plain = {
                kind: {name: asdict(tally) for name, tally in named.items()}
                for kind, named in tallies.items()
            }
            content = json.dumps({"seed": given.seed, **plain}, indent=1)
            write_atomically(given.out, content.encode())

    good = prepare(options.work)
    run_readers(all_readers(good), tallies["readers"], options, save)
    run_commands(all_commands(good), tallies["verbs"], options, save)
    print_table("reader", tallies["readers"])
    print_table("verb", tallies["verbs"])
    faults = [
        fault for named in tallies.values() for tally in named.values() for fault in tally.faults
    ]
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
