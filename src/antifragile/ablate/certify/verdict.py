"""The verdict that measurements lead to: pure functions, no process and no file.

failed    it does not run, or breaks a promise of its generator (shape, parameters, gradients)
refused   it runs, but changes nothing, takes more away than its component, or is dead: its output
          no longer depends on the inputs or on the parameters
certified-inactive-at-init   the function changes only once weights have moved
certified
"""

from __future__ import annotations

from dataclasses import replace

from antifragile.ablate.certify.judging import change, life, promises
from antifragile.ablate.certify.judging.case import Case
from antifragile.ablate.certify.measurements import BaselineMeasurement
from antifragile.ablate.records import Certificate, CertificateVerdict, Project, Variant
from antifragile.ablate.sandbox.job import Outcome


def judge(
    project: Project, variant: Variant, baseline: BaselineMeasurement, outcome: Outcome
) -> Certificate:
    """Judge one variant.

    Args:
        project: The project.
        variant: The generated files, and the effects they promise.
        baseline: Measurement of the unchanged model.
        outcome: The end of the variant's run; its value is the measurement.
    """
    if outcome.failure is not None:
        failed = _unmeasured(variant, CertificateVerdict.FAILED, outcome.reason)
        return replace(failed, checks={"runs": outcome.reason}, seconds=outcome.seconds)
    case = Case(project=project, variant=variant, baseline=baseline, found=outcome.value)
    case.checks["runs"] = "imports without us, forward in both modes, backward"
    case.checks["repeat"] = "bit-identical"
    if variant.substitute:
        case.checks["in its place"] = variant.substitute
    if variant.own_values:
        case.checks["initial values"] = promises.initial_values(case)
    verdict, reason = CertificateVerdict.FAILED, promises.broken_promise(case)
    if reason is None:
        verdict, reason = CertificateVerdict.REFUSED, life.dead(case) or life.takes_more(case)
    if reason is None:
        verdict, reason = change.judge_change(case)
        if verdict is CertificateVerdict.CERTIFIED:
            reason += life.standing_still(case) + life.taken_with_mark(case)
    return Certificate(
        component=variant.component,
        kind=variant.kind,
        verdict=verdict,
        reason=reason,
        checks=case.checks,
        parameter_delta=case.parameter_delta,
        without_gradient=tuple(case.found.run.without_gradient),
        seconds=outcome.seconds,
    )


def refused(variant: Variant) -> Certificate:
    """Judge a variant that has no legal edit."""
    assert variant.refusal is not None
    return _unmeasured(variant, CertificateVerdict.REFUSED, variant.refusal)


def _unmeasured(variant: Variant, verdict: CertificateVerdict, reason: str) -> Certificate:
    return Certificate(
        component=variant.component, kind=variant.kind, verdict=verdict, reason=reason
    )
