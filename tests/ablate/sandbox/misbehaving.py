"""Functions that misbehave in the ways that users' code may, as targets of jobs."""

from __future__ import annotations

import ctypes
import fractions
import os
import pickle
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import torch

from antifragile.ablate.records import ComponentKind, Entry
from antifragile.ablate.sandbox.loading import stage


def works(x: object) -> dict[str, object]:
    print("printed", flush=True)
    return {"x": x, "threads": torch.get_num_threads(), "folder": os.getcwd(), "pair": (1, 2.5)}


def record() -> Entry:
    return Entry(file="a.py", function="f")


def variables() -> dict[str, str]:
    return dict(os.environ)


def tells_an_address() -> None:
    raise ValueError("cannot reach postgresql://me:pa55@word@host/db")


def hang() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


def eat_tensors() -> None:
    held = []
    while True:
        held.append(torch.ones(1_000_000))


def eat_objects() -> None:
    held = []
    while True:
        held.append(str(len(held)) * 100_000)


def eat_shared_memory() -> None:
    held = []
    while True:
        held.append(torch.ones(1_000_000).share_memory_())


def exits() -> None:
    sys.exit(3)


def leaves() -> None:
    os._exit(0)


def crashes() -> None:
    ctypes.string_at(0)


def recurses() -> object:
    return recurses()


def raises() -> None:
    raise ValueError("no\n  good")


def asks() -> str:
    return input("name? ")


def tensor() -> torch.Tensor:
    return torch.ones(2)


def stranger() -> fractions.Fraction:
    return fractions.Fraction(1, 3)


def sees_the_others() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in ("pandas", "scipy", "libcst")]


def loaded() -> list[str]:
    return list(sys.modules)


def stumbles() -> None:
    with stage("the second step"):
        crashes()


def sleeps(path: str, nap: str) -> None:
    Path(path).touch()
    os.execvp("sleep", ["sleep", nap])


def _leave(content: bytes) -> NoReturn:
    """End with an answer of one's own making."""
    answer_path().write_bytes(content)
    os._exit(0)


def answer_path() -> Path:
    """The file in which the parent looks for the answer of this child."""
    [stage] = {link for link in open_files() if link.name == "stage"}
    return stage.with_name("answer")


def open_files() -> list[Path]:
    return [Path(os.readlink(link)) for link in Path("/proc/self/fd").iterdir() if link.exists()]


def answers_nothing() -> None:
    _leave(b"")


def answers_half() -> None:
    _leave(b'{"value": [1, 2')


def answers_a_pickle() -> None:
    _leave(pickle.dumps({"value": None}))


def answers_nan() -> float:
    _leave(b'{"value": NaN}')


def answers_a_giant_number() -> int:
    _leave(b'{"value": ' + b"9" * 5000 + b"}")


def answers_a_deep_list() -> None:
    _leave(b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def answers_half_a_letter() -> str:
    _leave(b'{"value": "\xc3"}')


def answers_a_list() -> None:
    _leave(b"[]")


def answers_another_type() -> Entry:
    _leave(b'{"value": {"file": 3, "function": "f"}}')


def answers_without_a_field() -> Entry:
    _leave(b'{"value": {"file": "a.py"}}')


def answers_an_unknown_word() -> ComponentKind:
    _leave(b'{"value": "shrug"}')


def answers_no_reason() -> None:
    _leave(b'{"failure": "raised"}')


def answers_a_timeout() -> None:
    _leave(b'{"failure": "timeout", "reason": "did not end"}')


def answers_an_escape() -> None:
    _leave(b'{"failure": "raised", "reason": "red \\u001b[31m\\nand more"}')


def answers_a_folder() -> None:
    answer_path().mkdir()
    os._exit(0)


def answers_a_pipe() -> None:
    os.mkfifo(answer_path())
    os._exit(0)


def answers_a_link() -> None:
    answer_path().symlink_to("/etc/passwd")
    os._exit(0)


def answers_too_much() -> str:
    with answer_path().open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    os._exit(0)


def contains_itself() -> dict[str, object]:
    found: dict[str, object] = {}
    found["again"] = found
    return found


def makes_a_pipe_of_the_stage() -> None:
    stage_path = answer_path().with_name("stage")
    stage_path.unlink()
    os.mkfifo(stage_path)
    crashes()


def writes_to_every_descriptor() -> None:
    for number in range(256):
        with suppress(OSError):
            os.write(number, b'{"id": 1}\n')
