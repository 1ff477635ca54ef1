"""Replacing one section of a document, found by its heading."""

from __future__ import annotations

import re
from pathlib import Path

from antifragile._files import write_atomically


def write_section(path: Path, heading: str, text: str) -> None:
    """Put ``text`` under ``## heading``, in place of what stood there, else at the end."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    new = f"## {heading}\n\n{text.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", re.S | re.M)
    if pattern.search(old):
        whole = pattern.sub(lambda match: new + "\n", old)
    else:
        whole = f"{old.rstrip()}\n\n{new}" if old.strip() else new
    write_atomically(path, (whole.rstrip() + "\n").encode())
