"""The compiled fleet kernel: one source, one module per processor generation.

Each module is optional: where it cannot be built, the package installs without it and the torch
kernel serves. The loader (`antifragile.fleet.native_kernel`) picks the best one that runs here.
"""

from __future__ import annotations

import platform
from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("src/antifragile/fleet/native")
COMMON = ["-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
X86_VERSIONS = {
    "avx512": "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512",
    "avx2": "-mavx2 -mfma",
}


def kernel(version: str, flags: str = "") -> Extension:
    """One version of the kernel as an extension module that only ctypes loads."""
    return Extension(
        name=f"antifragile.fleet._kernel_{version}",
        sources=[str(NATIVE / "kernel.cpp")],
        depends=[str(path) for path in sorted(NATIVE.glob("*.hpp"))],
        extra_compile_args=[*COMMON, *flags.split()],
        extra_link_args=["-pthread"],
        language="c++",
        optional=True,
    )


versions = X86_VERSIONS if platform.machine().lower() in ("x86_64", "amd64") else {}
setup(ext_modules=[*(kernel(name, flags) for name, flags in versions.items()), kernel("plain")])
