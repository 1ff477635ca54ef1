"""No trap gets a false certificate, and honest edits beside them are not refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.sandbox.server import Server
from tests.ablate.adversarial.traps import TRAPS, Guard
from tests.ablate.certify.hand_cut_variants import Bench


@pytest.mark.parametrize("name", TRAPS)
def test_the_certificate_of_a_trap(tmp_path: Path, tracing: Server, name: str) -> None:
    trap = TRAPS[name]
    bench = Bench(folder=tmp_path, server=tracing)
    [certificate] = bench.certify(trap.text, trap.cut, inputs=trap.inputs)
    assert certificate.verdict is trap.verdict, certificate.reason
    assert trap.reason in certificate.reason


def test_every_guard_is_tried() -> None:
    assert {trap.guard for trap in TRAPS.values()} == {*Guard, None}
    assert sum(trap.guard is not None for trap in TRAPS.values()) >= 40
