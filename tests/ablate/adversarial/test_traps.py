"""No trap gets a false certificate, and honest edits beside them are not refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.certify.workplace import Workplace
from antifragile.ablate.sandbox.server import Server
from tests.ablate.adversarial.traps import TRAPS, Guard, code_that_may_write_weights
from tests.ablate.certify.hand_cut_variants import Bench


@pytest.mark.parametrize("name", TRAPS)
def test_the_certificate_of_a_trap(tmp_path: Path, tracing: Server, name: str) -> None:
    trap = TRAPS[name]
    bench = Bench(folder=tmp_path, server=tracing)
    [certificate] = bench.certify(trap.text, trap.cut, inputs=trap.inputs)
    assert certificate.verdict is trap.verdict, certificate.reason
    assert trap.reason in certificate.reason


def test_weights_that_were_changed_all_the_same_are_noticed(
    tmp_path: Path, tracing: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Native code can write to them where the kernel holds nothing; here it is let."""
    monkeypatch.setattr(Workplace, "_code", code_that_may_write_weights)
    trap = TRAPS["changes the weights of others"]
    [certificate] = Bench(folder=tmp_path, server=tracing).certify(trap.text, trap.cut)
    assert certificate.verdict is trap.verdict
    assert "the file of weights that all variants are run on was changed" in certificate.reason


def test_every_guard_is_tried() -> None:
    assert {trap.guard for trap in TRAPS.values()} == {*Guard, None}
    assert sum(trap.guard is not None for trap in TRAPS.values()) >= 40
