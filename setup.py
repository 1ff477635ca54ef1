"""The compiled kernels: the fleet's, one module per processor generation, and the noise kernel.

Each module is optional: where it cannot be built, the package installs without it and torch
serves. The fleet's loader (`antifragile.fleet.native.library`) picks the best one that runs here;
the noise kernel (`antifragile.optim.noise.kernel`) holds all its versions in one module.
"""

from __future__ import annotations

import platform
from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("src/antifragile/fleet/native/cpp")
NOISE = Path("src/antifragile/optim/noise/cpp")
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
COMMON = ["-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
AVX512 = "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512"
X86_VERSIONS = {
    "avx512bf16": f"{AVX512} -mavx512bf16",  # holds the bf16 door alone
    "avx512": AVX512,
    "avx2": "-mavx2 -mfma",
}


def kernel(version: str, flags: str = "") -> Extension:
    """One version of the kernel as an extension module that only ctypes loads."""
    return Extension(
        name=f"antifragile.fleet.native._kernel_{version}",
        sources=[str(NATIVE / "kernel.cpp")],
        depends=[str(path) for path in sorted(NATIVE.glob("*.hpp"))],
        extra_compile_args=[*COMMON, *flags.split()],
        extra_link_args=["-pthread"],
        language="c++",
        optional=True,
    )


def noise_kernel() -> Extension:
    """The noise kernel; sums and products are rounded one by one, as torch rounds them."""
    return Extension(
        name="antifragile.optim.noise._noise",
        sources=[str(NOISE / "kernel.cpp")],
        depends=[str(path) for path in sorted(NOISE.glob("*.hpp"))],
        extra_compile_args=["-std=c++17", "-O3", "-ffp-contract=off", "-Wno-psabi"],
        extra_link_args=["-pthread"],
        language="c++",
        optional=True,
    )


versions = X86_VERSIONS if IS_X86 else {}
fleet = [*(kernel(name, flags) for name, flags in versions.items()), kernel("plain")]
setup(ext_modules=[*fleet, noise_kernel()])
