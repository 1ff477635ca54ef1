"""A training script that is killed in the middle of an epoch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def kill_in_the_middle(script: str, folder: Path) -> None:
    """Run a script with a folder as its argument, and kill it once it says where it is."""
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if "in the middle" in line:
            break
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
