"""Asking a linear layer for its output shape costs no import, and gives what torch gives."""

from __future__ import annotations

import subprocess
import sys

ASK = """
import sys, torch
from antifragile.ablate.frameworks.torch import compiler
compiler.install()
compiler.install()
layer = torch.nn.Linear(4, 5, dtype=torch.float64).to("meta")
for shape in SHAPES:
    answer = layer(torch.empty(*shape, device="meta", dtype=torch.float64, requires_grad=True))
    print(tuple(answer.shape), answer.dtype, answer.requires_grad)
print("torch._dynamo" in sys.modules)
"""


def asked(shapes: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: what is installed stays."""
    script = ASK.replace("SHAPES", shapes)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )


def test_a_linear_layer_tells_its_shape_without_the_compiler() -> None:
    lines = ["(2, 5) torch.float64 True", "(2, 3, 5) torch.float64 True", "False"]
    assert asked("((2, 4), (2, 3, 4))").stdout.splitlines() == lines


def test_a_wrong_width_is_still_an_error() -> None:
    assert "do not multiply" in asked("((2, 3),)").stderr
