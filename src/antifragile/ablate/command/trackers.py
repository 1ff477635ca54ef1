"""The values of a metric in what a tracker leaves on the disk: TensorBoard, W&B, MLflow.

Each reader takes a folder, or a file, and a name, and returns the values of every run below it that
has the name, in the order of their steps.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from antifragile._optional import require

Found = dict[str, list[float]]
"""The values of each run that has the name, by the run's folder, file or id."""

_BLOCK = 2**15  # bytes of a block of a W&B file
_HEADER, _MAGIC = struct.Struct("<IHB"), b":W&B"


def in_tensorboard(place: Path, name: str) -> Found:
    """Read a scalar of TensorBoard's event files.

    Raises:
        MissingExtraError: The package tensorboard is not installed.
    """
    module = require(
        "tensorboard.backend.event_processing.event_accumulator",
        extra="tensorboard",
        purpose="reading TensorBoard's files",
    )
    found: Found = {}
    for folder in sorted({path.parent for path in _below(place, "*tfevents*")}):
        events = module.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
        events.Reload()
        if name in events.Tags()["scalars"]:
            found[str(folder)] = [float(event.value) for event in events.Scalars(name)]
        elif name in events.Tags()["tensors"]:
            found[str(folder)] = [
                float(module.tensor_util.make_ndarray(event.tensor_proto))
                for event in events.Tensors(name)
            ]
    return found


def in_wandb(place: Path, name: str) -> Found:
    """Read a value of W&B's files of offline runs.

    Raises:
        MissingExtraError: The package wandb is not installed.
    """
    records = require(
        "wandb.proto.wandb_internal_pb2", extra="wandb", purpose="reading W&B's files"
    )
    found: Found = {}
    for path in _below(place, "*.wandb"):
        for content in _wandb_records(path.read_bytes()):
            record = records.Record()
            record.ParseFromString(content)
            for item in (*record.history.item, *record.summary.update):
                if (item.key or "/".join(item.nested_key)) == name:
                    with suppress(ValueError, TypeError):
                        value = float(json.loads(item.value_json))
                        found.setdefault(str(path), []).append(value)
    return found


def in_mlflow(place: Path, name: str) -> Found:
    """Read a metric of MLflow's folder ``mlruns``, or of its database in SQLite."""
    found: Found = {}
    if place.is_file():
        query = "SELECT run_uuid, value, is_nan FROM metrics WHERE key = ? ORDER BY step, timestamp"
        with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as connection:
            rows = connection.execute(query, [name]).fetchall()
        for run, value, is_nan in rows:
            found.setdefault(run, []).append(float("nan") if is_nan else float(value))
        return found
    for path in _below(place, name):
        if path.parent.name == "metrics" or path.parents[name.count("/")].name == "metrics":
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]
            found[str(path.parent)] = [float(line.split()[1]) for line in lines]
    return found


def _below(place: Path, pattern: str) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(path for path in place.rglob(pattern) if path.is_file())


def _wandb_records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a W&B file: blocks of 32 KiB, a record whole or in parts.

    Source: the log format of LevelDB, doc/log_format.md.
    """
    at, parts = 7, b""
    if not content.startswith(_MAGIC):
        return
    while at + _HEADER.size <= len(content):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER.size:
            at += left
            continue
        _, size, kind = _HEADER.unpack_from(content, at)
        body = content[at + _HEADER.size : at + _HEADER.size + size]
        at += _HEADER.size + size
        parts = body if kind in (1, 2) else parts + body  # whole, first; middle, last
        if kind in (1, 4):
            yield parts


NEEDED = {"tensorboard": "tensorboard", "wandb": "wandb"}  # packages
READERS: dict[str, Callable[[Path, str], Found]] = {
    "tensorboard": in_tensorboard,
    "wandb": in_wandb,
    "mlflow": in_mlflow,
}
