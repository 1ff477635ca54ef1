"""Processes that tests start and look for: each sleeps for seconds that no other one sleeps."""

from __future__ import annotations

from pathlib import Path


def sleepers(nap: str) -> list[int]:
    """List the processes that sleep for so many seconds."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", nap.encode()]:
            found.append(int(path.parent.name))
    return found
