"""Contents of an output folder, wall times aside, and faults of files that a kill left behind."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from antifragile.ablate.study.folder import read_ablation_folder
from antifragile.errors import AntifragileError

Contents = Mapping[str, object]
TIMES = {"seconds", "finished_at", "created_at"}  # columns and keys
OF_OWNERS = ("owner", "checksum", "digest_")  # parts of names of tables and columns: who, and when
WORK = ".ablations"
_BESIDE = ("-wal", "-shm", "-journal")


def contents(folder: Path) -> dict[str, object]:
    """Every table row and file of an output folder, without wall times, locks and caches."""
    found: dict[str, object] = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".db":
            found |= {f"{name}: {key}": rows for key, rows in _tables(path)}
        elif path.suffix == ".json":
            text = path.read_text().replace(str(folder), ".")  # an index names the model's folder
            found[name] = _timeless(json.loads(text))
        elif path.suffix == ".csv":
            found[name] = _cells(path.read_text())
        else:
            found[name] = path.read_bytes()
    return found


def differences(ours: Contents, reference: Contents) -> tuple[list[str], list[str]]:
    """Name what is lost, and what has another content or is there in addition."""
    lost, changed = [], [name for name in ours if name not in reference]
    for name, wanted in reference.items():
        got = ours.get(name)
        if got == wanted:
            continue
        is_less = isinstance(got, list) and isinstance(wanted, list) and _is_part(got, wanted)
        (lost if name not in ours or is_less else changed).append(name)
    return lost, changed


def half_written(folder: Path) -> list[str]:
    """Name the files that are not whole; unfinished temporary files are none of the output."""
    found = []
    for path in _files(folder):
        try:
            _read_whole(path)
        except Exception as error:
            found.append(f"{path.relative_to(folder)}: {error!r:.200}")
    return found


def in_part(folder: Path, reference: Contents) -> list[str]:
    """Name the pages and exports that are there and are not as they are at the end."""
    return [
        f"{name}: not the whole file"
        for name, content in contents(folder).items()
        if name.endswith((".csv", ".html")) and content != reference.get(name)
    ]


def set_of(folder: Path) -> object:
    """The variants that a reader finds, by the hashes of their files; a sentence if it fails."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "v")
        shutil.copytree(folder, copy)  # a reader ends what a killed process began
        try:
            return read_ablation_folder(copy).digests
        except AntifragileError as error:
            return str(error)


def leftovers(folder: Path) -> list[str]:
    """Name temporary files and half-made folders that are still there."""
    found = list(folder.rglob(".*.tmp"))
    found += [path for path in folder.glob(f"**/{WORK}/*") if path.suffix != ".lock"]
    return [path.relative_to(folder).as_posix() for path in found]


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        is_ours = WORK in path.parts or path.name.endswith((*_BESIDE, ".lock", ".tmp", ".pyc"))
        if path.is_file() and not is_ours:
            yield path


def _read_whole(path: Path) -> None:
    """Raise an exception unless a file is whole."""
    content = path.read_bytes()
    if path.suffix == ".db":
        with tempfile.TemporaryDirectory() as place:
            for name in (path.name, *(path.name + end for end in _BESIDE)):
                if path.with_name(name).exists():
                    shutil.copy(path.with_name(name), place)
            with closing(sqlite3.connect(Path(place, path.name))) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    elif path.suffix == ".json":
        json.loads(content)
    elif path.suffix == ".safetensors":
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        ends = [item["data_offsets"][1] for key, item in header.items() if key[:2] != "__"]
        assert len(content) == 8 + size + max(ends, default=0)
    elif path.suffix == ".html":
        assert content.rstrip().endswith(b"</html>")
    elif path.suffix == ".csv":
        assert content.endswith(b"\n")
        assert len({len(row) for row in csv.reader(io.StringIO(content.decode()))}) == 1
    elif path.suffix == ".py":
        compile(content, path.name, "exec")


def _tables(path: Path) -> Iterator[tuple[str, list[str]]]:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (table,) in connection.execute(query).fetchall():
            if any(word in table for word in OF_OWNERS):
                continue
            cursor = connection.execute(f"SELECT * FROM {table}")
            columns = [column[0] for column in cursor.description]
            kept = [n for n, column in enumerate(columns) if not _is_ignored(column)]
            yield table, sorted(repr([_cell(row[n]) for n in kept]) for row in cursor)


def _cell(value: object) -> object:
    """A manifest is stored as JSON, with its runs in the order in which they ended."""
    if isinstance(value, str) and value.startswith("{"):
        return _timeless(json.loads(value))
    return value


def _cells(text: str) -> list[str]:
    rows = list(csv.reader(io.StringIO(text)))
    kept = [n for n, column in enumerate(rows[0]) if not _is_ignored(column)]
    return sorted(repr([row[n] for n in kept]) for row in rows)


def _is_ignored(column: str) -> bool:
    return column in TIMES or any(word in column for word in OF_OWNERS)


def _timeless(value: Any) -> Any:
    """JSON data without wall times, and without the hashes of what holds one."""
    if isinstance(value, dict):
        dropped = {"certificate.json", "content_sha256", *TIMES}
        return {key: _timeless(item) for key, item in value.items() if key not in dropped}
    if isinstance(value, list):
        items = [_timeless(item) for item in value]
        is_runs = all(isinstance(item, dict) and "key" in item for item in items)
        return sorted(items, key=lambda item: str(item["key"])) if is_runs else items
    return value


def _is_part(ours: list[Any], reference: list[Any]) -> bool:
    return all(item in reference for item in ours)
