"""Running the command line, in this process or as a real one, and what it left behind."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antifragile.cli.main import run

PROGRAM = (sys.executable, "-m", "antifragile")
SPEC: dict[str, Any] = {
    "name": "small",
    "dataset": "tiny",
    "architectures": ["1*4", "2*2"],
    "modes": ["none", "output"],
    "trials": 2,
    "meta_loops": 3,
    "training": {"learning_rate": 0.01, "batch_size": 8},
}


@dataclass(frozen=True)
class Said:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    def is_one_error(self) -> bool:
        """Say whether stderr is one sentence, or one with its faults listed, and nothing else."""
        first, *others = self.err.splitlines() or [""]
        return (
            first.startswith("error: ")
            and first.endswith((".", "?", ":"))
            and all(line.startswith("  - ") for line in others)
            and "internal error" not in first
        )


def write_spec(path: Path, **changes: Any) -> Path:
    """Write a study spec; a value of None leaves its key out."""
    values = {key: value for key, value in (SPEC | changes).items() if value is not None}
    path.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in values.items()))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, every folder with None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


LEFT_OUT = ("ANTIFRAGILE_DATA", "COLUMNS")


def environment(home: Path) -> dict[str, str]:
    """A user with this home, no data and no width said, for whom every download fails at once."""
    kept = {key: value for key, value in os.environ.items() if key not in LEFT_OUT}
    nowhere = "http://127.0.0.1:9"
    return kept | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HTTPS_PROXY": nowhere,
        "https_proxy": nowhere,
    }


def start(folder: Path, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start the program in a folder, in a process group of its own."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        cwd=folder,
        **{
            "env": environment(folder),
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "start_new_session": True,
        }
        | options,
    )


def run_process(folder: Path, *arguments: object, **options: Any) -> Said:
    """Run the program in a folder to its end."""
    process = start(folder, *arguments, **options)
    out, err = process.communicate(timeout=120)
    return Said(process.returncode, out or "", err or "")


def run_here(
    folder: Path, *arguments: object, program: Callable[[Sequence[str]], int] = run
) -> Said:
    """Run a command line in this process, which has torch loaded already."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = program([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())
