"""Functions that misbehave in the ways that users' code may, as targets of jobs."""

from __future__ import annotations

import ctypes
import fractions
import os
import signal
import sys
import time
from pathlib import Path

import torch

from antifragile.ablate.records import Entry
from antifragile.ablate.sandbox.loading import stage


def works(x: object) -> dict[str, object]:
    print("printed", flush=True)
    return {"x": x, "threads": torch.get_num_threads(), "folder": os.getcwd(), "pair": (1, 2.5)}


def record() -> Entry:
    return Entry(file="a.py", function="f")


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


def leaves_a_child_behind() -> int:
    child = os.fork()
    if child == 0:
        time.sleep(100)
    return child


def sees_the_others() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in ("pandas", "scipy", "libcst")]


def loaded() -> list[str]:
    return list(sys.modules)


def stumbles() -> None:
    with stage("the second step"):
        crashes()


def sleeps(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(100)
