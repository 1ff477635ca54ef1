"""The verdict on one preset in one trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from antifragile.errors import UsageError

CLOSE = 1e-5  # largest difference of a weight that other orders of additions explain


class Judged(NamedTuple):
    """A verdict (``exact``, ``works``, ``refused``, ``differs``); the sentence of a refusal."""

    word: str
    sentence: str = ""


def judge(case: Callable[[str], tuple[Tensor, Tensor]], preset: str) -> Judged:
    """Run a case and compare its weights with those of its twin."""
    try:
        found, expected = case(preset)
    except UsageError as error:
        return Judged("refused", str(error))
    if torch.equal(found, expected):
        return Judged("exact")
    is_close = torch.allclose(found, expected, rtol=0.0, atol=CLOSE)
    return Judged("works" if is_close else "differs")
