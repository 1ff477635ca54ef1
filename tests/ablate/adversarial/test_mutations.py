"""Every guard is needed: with it switched off, its traps do get a false certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antifragile.ablate.certify import bench as bench_module
from antifragile.ablate.certify import measure, workplace
from antifragile.ablate.certify.arrays import load_arrays
from antifragile.ablate.certify.compare import Difference
from antifragile.ablate.certify.judging import change, life, promises
from antifragile.ablate.certify.judging.case import Case
from antifragile.ablate.records import CertificateVerdict
from antifragile.ablate.sandbox.server import Server
from tests.ablate.adversarial.traps import TRAPS, Guard, Trap, code_that_may_write_weights
from tests.ablate.certify.hand_cut_variants import Bench

pytestmark = pytest.mark.slow
CERTIFIED = (CertificateVerdict.CERTIFIED, CertificateVerdict.INACTIVE_AT_INIT)
SwitchOff = Callable[[pytest.MonkeyPatch], None]


def _nothing(*_: object) -> None:
    return None


def _without_dead_check(patch: pytest.MonkeyPatch) -> None:
    """The output may be constant, and whoever lost its gradient is not asked for either."""
    patch.setattr(life, "dead", _nothing)
    patch.setattr(Case, "is_zero", lambda *_: False)


def _without_zero_check(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Case, "is_zero", lambda *_: False)


def _without_takes_more(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(life, "takes_more", _nothing)


def _without_noise_floor(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(change, "threshold_of", lambda *_: 0.0)


def _without_finite(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(promises, "finite", _nothing)
    patch.setattr(life, "dead", _nothing)  # which stands behind it


def _without_shape(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(promises, "output_shape", _nothing)
    patch.setattr(life, "dead", _nothing)  # which stands behind it


def _without_parameters(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(promises, "parameters", _nothing)


def _without_repeats(patch: pytest.MonkeyPatch) -> None:
    for module in (measure, bench_module):
        patch.setattr(module, "check_repeats", _nothing)


def _without_inputs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(promises, "inputs", _nothing)


def _without_independent_streams(patch: pytest.MonkeyPatch) -> None:
    prepare = workplace.Workplace.variant_job

    def job(place: Any, variant: Any, results: Path, **given: Any) -> Any:
        return prepare(place, variant, results, **{**given, "is_random": False})

    patch.setattr(workplace.Workplace, "variant_job", job)


def _without_copied_values(patch: pytest.MonkeyPatch) -> None:
    """Every parameter of a variant keeps the value that it was built with."""
    prepare = workplace.Workplace.variant_job

    def job(place: Any, variant: Any, results: Path, **given: Any) -> Any:
        found = prepare(place, variant, results, **given)
        own = [path.partition("/")[2] for path in load_arrays(place.weights)]
        return replace(found, arguments={**found.arguments, "kept_apart": own})

    patch.setattr(workplace.Workplace, "variant_job", job)
    patch.setattr(life, "dead", _nothing)  # weights that nobody copies cannot change


def _without_control_seed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(measure, "are_identical", lambda *_: True)


def _without_comparison(patch: pytest.MonkeyPatch) -> None:
    """As where a model decides what comparisons say."""
    honest = measure.difference
    patch.setattr(measure, "difference", lambda *pair: _forged(honest(*pair)))
    patch.setattr(promises, "inputs", _nothing)
    patch.setattr(measure, "rounding_noise", lambda *_: {})
    patch.setattr(bench_module, "needs_shaking", lambda *_: False)


def _forged(_: Difference) -> Difference:
    return Difference(identical=False, relative=0.5)


def _without_digest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(workplace.Workplace, "_code", code_that_may_write_weights)
    patch.setattr(workplace.Workplace, "weights_digest", lambda *_: "")


def _without_form(patch: pytest.MonkeyPatch) -> None:
    """What cannot be read counts as results of its own."""
    honest_results, honest_outcome = measure.read_results, bench_module.Bench._with_measurement

    def read(path: Path, most_bytes: int) -> Any:
        try:
            return honest_results(path, most_bytes)
        except measure.Unmeasured:
            return {}

    def measured(self: Any, outcome: Any, path: Path) -> Any:
        if outcome.failure is not None:  # as if silence were consent
            run = measure.ModelRun(
                parameters=dict(self.baseline.run.parameters),
                signature=self.baseline.run.signature,
                without_gradient=self.baseline.run.without_gradient,
                stream_digest=self.baseline.run.stream_digest,
                repeats={part: ["", ""] for part in measure.PART_WORDS},
            )
            outcome = replace(outcome, failure=None, value=run)
        return honest_outcome(self, outcome, path)

    patch.setattr(bench_module, "needs_shaking", lambda *_: False)
    patch.setattr(bench_module, "read_results", read)
    patch.setattr(bench_module.Bench, "_with_measurement", measured)
    patch.setattr(measure, "_check_fit", _nothing)
    patch.setattr(life, "dead", _nothing)
    patch.setattr(life, "takes_more", _nothing)
    patch.setattr(promises, "inputs", _nothing)


SWITCHES: dict[Guard, SwitchOff] = {
    Guard.DEAD: _without_dead_check,
    Guard.ZERO_GRADIENT: _without_zero_check,
    Guard.TAKES_MORE: _without_takes_more,
    Guard.NOISE: _without_noise_floor,
    Guard.FINITE: _without_finite,
    Guard.SHAPE: _without_shape,
    Guard.PARAMETERS: _without_parameters,
    Guard.REPEATS: _without_repeats,
    Guard.STREAMS: _without_independent_streams,
    Guard.VALUES: _without_copied_values,
    Guard.OUT_OF_REACH: _without_control_seed,
    Guard.INPUTS: _without_inputs,
    Guard.COMPARISON: _without_comparison,
    Guard.ANSWER: _without_form,
    Guard.WEIGHTS_FILE: _without_digest,
}


@contextmanager
def switched_off(guard: Guard) -> Iterator[None]:
    """Certification without one of its checks."""
    with pytest.MonkeyPatch.context() as patch:
        SWITCHES[guard](patch)
        yield


@pytest.mark.parametrize("name", [name for name, trap in TRAPS.items() if trap.guard])
def test_without_its_guard_a_trap_gets_a_false_certificate(
    tmp_path: Path, tracing: Server, name: str
) -> None:
    trap: Trap = TRAPS[name]
    assert trap.guard is not None
    bench = Bench(folder=tmp_path, server=tracing)
    with switched_off(trap.guard):
        [certificate] = bench.certify(trap.text, trap.cut, inputs=trap.inputs)
    assert certificate.verdict in CERTIFIED, certificate.reason


def test_every_guard_can_be_switched_off() -> None:
    assert SWITCHES.keys() == set(Guard)
