"""Facts about this machine that decide the bits of a result.

Torch, a second of work, is imported by those functions that need it.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

from antifragile.errors import UsageError
from antifragile.store.records import Environment

DEVICES = ("cpu", "cuda", "mps")


def check_device(device: str) -> None:
    """Refuse a device that torch cannot use here.

    Raises:
        UsageError: Unknown or absent device.
    """
    import torch

    if device not in DEVICES:
        raise UsageError(f"device {device!r} is unknown; expected one of {', '.join(DEVICES)}.")
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present[device]:
        raise UsageError(f"device {device!r} is not available on this machine; use --device cpu.")


def describe_machine(device: str = "cpu") -> str:
    """Processor architecture, vendor and the vector set in use, or the accelerator's name."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {_cpu_vendor()} {capability}"


def usable_cores() -> int:
    """Processor cores that this process may use; a container or batch job may have fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity


def available_memory() -> int | None:
    """Bytes that further processes may take, of a container's share too; None where unknown."""
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(1024 * int(line.split()[1]))
    with suppress(OSError, ValueError):
        most, now = (
            int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current")
        )
        found.append(most - now)
    return min(found, default=None)


def current_environment(
    *, kernel: str = "plain", device: str = "cpu", threads: int = 1, precision: str = "fp32"
) -> Environment:
    """The environment that records computed here and now belong to."""
    import torch

    return Environment(
        kernel=kernel,
        device=device,
        threads=threads,
        precision=precision,
        machine=describe_machine(device),
        torch_version=torch.__version__,
    )


@cache
def _cpu_vendor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("vendor_id"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
