"""Metrics of a run that a command leaves behind: in files, trackers, or in what it prints.

    json:{out}/metrics.json:val_loss      a number, by its keys: "final.val_loss", "folds.0.loss"
    json:{out}/log.jsonl:val_loss         of JSON lines the last one that has it
    csv:{out}/log.csv:val_loss            the last number in a column
    regex:val loss ([0-9.]+)              the last match in what the command prints
    tensorboard:{out}/tb:val/loss         the last value in TensorBoard's files below a folder
    wandb:{out}/wandb:val_loss            of W&B's offline run there
    mlflow:{out}/mlruns:val_loss          of MLflow's run there, or in its database: mlflow.db

Of several values, one an epoch say, the last counts; ``@min``, ``@max`` or ``@first`` at the end
take another: ``csv:{out}/log.csv:val_loss@min``. All of them are kept beside the run's output.

Paths are relative to the folder where the command is started.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from antifragile._shown import listed_names
from antifragile.ablate.command.command import PLACES, filled
from antifragile.ablate.command.trackers import NEEDED, READERS
from antifragile.ablate.sandbox.loading import Refusal
from antifragile.errors import MissingExtraError, UsageError, nearest

_MOST_BYTES = 2**28
_PICKS: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda values: values[-1],
    "first": lambda values: values[0],
    "min": lambda values: min(values, key=_nan_last),
    "max": lambda values: -min((-value for value in values), key=_nan_last),
}
Earlier = Mapping[str, str]
STDOUT, STDERR = "stdout.txt", "stderr.txt"  # in the folder of a run


@dataclass(frozen=True, kw_only=True)
class MetricSource:
    """The place of one metric.

    Args:
        text: The source as the user wrote it.
        kind: ``json``, ``csv``, ``regex``, or a tracker: ``tensorboard``, ``wandb``, ``mlflow``.
        path: The file, with places like ``{out}``; empty where the command's output is read.
        key: Keys in JSON, joined by dots, the column of a table, or the pattern.
    """

    text: str
    kind: str
    path: str
    key: str

    @classmethod
    def read(cls, text: str) -> MetricSource:
        """Read a source.

        Raises:
            UsageError: It is none.
            MissingExtraError: It is of a tracker whose package is not installed.
        """
        kind, colon, rest = text.partition(":")
        if not colon or kind not in (*_READERS, *READERS):
            raise UsageError(
                f"--metric {text!r} names no place; with --command write it as in "
                "'json:{out}/metrics.json:val_loss', 'csv:{out}/log.csv:val_loss', "
                "'regex:val loss ([0-9.]+)', 'tensorboard:{out}/tb:val/loss', "
                "'wandb:{out}/wandb:val_loss' or 'mlflow:{out}/mlruns:val_loss'."
            )
        if kind in NEEDED and find_spec(NEEDED[kind]) is None:
            raise MissingExtraError(
                f"--metric {text!r} needs the package {NEEDED[kind]!r}, which is not installed; "
                f"run: pip install 'antifragile[{kind}]'"
            )
        before, _, word = rest.rpartition("@")
        rest = before if word in _PICKS else rest
        if before and word not in _PICKS:
            _check_no_slip(text, word)
        if kind == "regex":
            _check_pattern(text, rest)
            return cls(text=text, kind=kind, path="", key=rest)
        path, colon, key = rest.rpartition(":")
        if not path or not key:
            raise UsageError(f"--metric {text!r} lacks a file or a name; write {kind}:FILE:NAME.")
        filled(path, dict.fromkeys(PLACES, ""), "--metric")
        return cls(text=text, kind=kind, path=path, key=key)

    @property
    def pick(self) -> str:
        """The value that counts of several: ``last``, ``first``, ``min`` or ``max``."""
        word = self.text.rpartition("@")[2]
        return word if word in _PICKS else "last"

    @property
    def is_file(self) -> bool:
        """Whether it is read in a file, rather than in what is printed or a tracker keeps."""
        return self.kind in _READERS and self.kind != "regex"

    @property
    def name(self) -> str:
        """The metric's name in tables."""
        name = self.key
        if self.kind == "regex":
            words = re.sub(r"[^A-Za-z_]+", " ", re.sub(r"\\.|\(.*\)", " ", self.key)).split()
            name = "_".join(words) or "value"
        return name if self.pick == "last" else f"{name}@{self.pick}"

    def earlier(self, places: Mapping[str, str], folder: Path) -> Earlier:
        """Look what is there before the command is started, for instance from a run by hand.

        Args:
            places: Values of ``{out}`` and the other places.
            folder: The folder where the command is started.

        Returns:
            Values of the runs that a tracker has; of a file, its size and the time of its change.
        """
        path = folder / filled(self.path, places, "--metric")
        if self.kind == "regex" or not path.exists():
            return {}
        if self.kind not in READERS:
            status = path.stat()
            return {str(path): f"{status.st_size} bytes of {status.st_mtime_ns}"}
        with suppress(Refusal):
            return {run: repr(values) for run, values in _all_tracked(path, self).items()}
        return {}

    def picked(self, values: Sequence[float]) -> float:
        """The one of a run's values that counts."""
        return _PICKS[self.pick](values)

    def values(
        self, places: Mapping[str, str], folder: Path, run: Path, earlier: Earlier | None = None
    ) -> list[float]:
        """Read the metric of a run that has ended, all its values in their order.

        Args:
            places: Values of ``{out}`` and the other places.
            folder: The folder where the command was started.
            run: The run's own folder, with what the command printed.
            earlier: Values or files of before the run; none of them is its own.

        Returns:
            The numbers, at least one; they may be infinite or NaN.

        Raises:
            Refusal: There is none.
        """
        earlier = earlier or {}
        if self.kind == "regex":
            printed = "".join(_text(run / name, self.text) for name in (STDOUT, STDERR))
            return _matched(printed, self.key, self.text)
        path = folder / filled(self.path, places, "--metric")
        if self.kind in READERS:
            return _tracked(path, self, earlier)
        if earlier and self.earlier(places, folder) == earlier:
            raise Refusal(
                f"the command left {path.name}, which --metric {self.text} reads, as it was before"
            )
        return _READERS[self.kind](_text(path, self.text), self.key, self.text)


def _check_no_slip(text: str, word: str) -> None:
    """Refuse what is nearly one of our words behind an @; any other word is part of a name."""
    if near := get_close_matches(word.lower(), _PICKS, n=1):
        raise UsageError(
            f"--metric {text!r} ends with @{word}; did you mean @{near[0]}? For a name that ends "
            f"so, write @{word}@last."
        )


def _check_pattern(text: str, pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise UsageError(f"--metric {text!r} is no pattern: {error}.") from None
    if groups != 1:
        raise UsageError(
            f"--metric {text!r} has {groups} groups; put the number, and it alone, in parentheses."
        )


def _text(path: Path, source: str) -> str:
    if not path.is_file():
        raise Refusal(_left_none(path, source))
    if path.stat().st_size > _MOST_BYTES:
        raise Refusal(f"{path.name}, which --metric {source} reads, is larger than 256 MiB")
    return path.read_text(encoding="utf-8", errors="replace")


def _left_none(path: Path, source: str) -> str:
    """Say that a file is missing, and what is in its folder."""
    said = f"the command left no {path.name}, which --metric {source} reads"
    names = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    return f"{said}; there is {listed_names(names, 5)}" if names else f"{said}, nor another file"


def _all_tracked(path: Path, source: MetricSource) -> Mapping[str, list[float]]:
    """Read the values that each of a tracker's runs below a path has."""
    if not path.exists():
        raise Refusal(_left_none(path, source.text))
    try:
        return READERS[source.kind](path, source.key)
    except MissingExtraError as error:
        raise Refusal(str(error).rstrip(".")) from None
    except (OSError, ValueError, IndexError, TypeError, sqlite3.Error) as error:
        raise Refusal(f"what --metric {source.text} reads is damaged: {error}") from None


def _tracked(path: Path, source: MetricSource, earlier: Earlier) -> list[float]:
    """Read the values of the one run of a tracker below a path, beside those that were there."""
    everything = _all_tracked(path, source)
    found = {run: values for run, values in everything.items() if repr(values) != earlier.get(run)}
    if not found:
        raise Refusal(f"no run of {source.kind} below {path.name} has {source.key!r}")
    if len(found) > 1:
        listed = ", ".join(Path(run).name for run in sorted(found)[:3])
        raise Refusal(
            f"{len(found)} runs of {source.kind} below {path.name} have {source.key!r} ({listed}); "
            "name the folder of one, as in {out}"
        )
    return next(iter(found.values()))


def _nan_last(value: float) -> tuple[bool, float]:
    return math.isnan(value), value


def _matched(text: str, pattern: str, source: str) -> list[float]:
    found = re.findall(pattern, text)
    if not found:
        raise Refusal(f"nothing that the command printed matches --metric {source}")
    return _numbers(found, source)


def _in_json(text: str, key: str, source: str) -> list[float]:
    try:
        data = [json.loads(text)]
    except ValueError:
        data = _json_lines(text, source)
    found, missing = [], ""
    for item in data:
        try:
            found.append(_at(item, key))
        except KeyError as error:
            missing = str(error.args[0])
    if not found:
        raise Refusal(f"--metric {source} is not in the file: {missing}")
    return _numbers(found, source)


def _json_lines(text: str, source: str) -> list[Any]:
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise Refusal(f"what --metric {source} reads is no JSON: {error}") from None


def _at(data: Any, key: str) -> Any:
    """Follow keys joined by dots; a key that has dots itself goes first.

    Raises:
        KeyError: There is no such key; the text is a clause.
    """
    if isinstance(data, dict) and key in data:
        return data[key]
    first, _, rest = key.partition(".")
    if isinstance(data, list) and first.isdecimal() and int(first) < len(data):
        found = data[int(first)]
    elif isinstance(data, dict) and first in data:
        found = data[first]
    else:
        known = [str(k) for k in data] if isinstance(data, dict) else []
        raise KeyError(f"no {first!r}; {nearest(first, known)}" if known else f"no {first!r}")
    return _at(found, rest) if rest else found


def _in_csv(text: str, key: str, source: str) -> list[float]:
    rows = list(csv.DictReader(io.StringIO(text), skipinitialspace=True))
    columns = [name for name in (rows[0] if rows else ()) if name is not None]
    if key not in columns:
        hint = nearest(key, columns) if columns else "it has no rows."
        raise Refusal(f"--metric {source} is no column of the file; {hint.rstrip('.')}")
    filled_in = [row[key] for row in rows if (row[key] or "").strip()]
    if not filled_in:
        raise Refusal(f"the column of --metric {source} is empty")
    return _numbers(filled_in, source)


def _numbers(found: Sequence[Any], source: str) -> list[float]:
    """The numbers among some values, of which the last has to be one."""
    last = _number(found[-1], source)
    earlier = []
    for value in found[:-1]:
        with suppress(Refusal):
            earlier.append(_number(value, source))
    return [*earlier, last]


def _number(value: Any, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Refusal(f"--metric {source} must be a number; got {value!r:.60}")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise Refusal(f"--metric {source} must be a number; got {value!r:.60}") from None


_READERS: dict[str, Callable[[str, str, str], list[float]]] = {
    "json": _in_json,
    "csv": _in_csv,
    "regex": _matched,
}
