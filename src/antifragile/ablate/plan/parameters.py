"""Edits of raw parameters: their reads replaced, or the parameter frozen."""

from __future__ import annotations

from collections.abc import Sequence

from antifragile.ablate.discovery.evidence import Evidence, SeenSite
from antifragile.ablate.discovery.parameters import is_fact
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.calls.once import bound, names_for
from antifragile.ablate.plan.modules import frozen_parameters
from antifragile.ablate.plan.names import library_names, with_helper
from antifragile.ablate.records import AblationKind, Edit, NoLegalEdit, Planned
from antifragile.ablate.source.edits import operand_text
from antifragile.ablate.source.edits import replace as replace_node
from antifragile.ablate.trace.records import Callee


def plan_parameter(attempt: Attempt) -> Planned:
    """Replace every read of a raw parameter, or freeze it where it is made."""
    evidence, kind = attempt.evidence, attempt.kind
    reads = [evidence.site(key) for key in attempt.target.sites]
    if kind is AblationKind.FREEZE:
        return freeze_parameter(evidence, {name for read in reads for name in read.run.parameters})
    if kind is AblationKind.MEAN and attempt.target.component.parameters == 1:
        raise NoLegalEdit("a single number: its mean is itself")
    edits: list[Edit] = []
    for read in reads:
        source, node = read.source, read.node
        torch = library_names(evidence, source)["torch"]
        names = names_for(source, node, [node] if kind is AblationKind.MEAN else [])
        text = names.get(node) or source.source(node)
        new = {
            AblationKind.ZERO: f"{torch}.zeros_like({text})",
            AblationKind.CONSTANT: f"{torch}.ones_like({text})",
            AblationKind.MEAN: f"({torch}.mean({text}) + {torch}.zeros_like({text}))"
            if evidence.trace.framework == "keras"
            else f"{text}.mean().expand_as({text})",
        }[kind]
        edit = replace_node(source, node, bound(source, new, names))
        edits += [edit] if edits else with_helper(evidence, source, node, edit)
    check_no_other_use(evidence, reads)
    lost = () if kind is AblationKind.MEAN else lost_reads(evidence, reads)
    words = {AblationKind.CONSTANT: "ones", AblationKind.MEAN: "one number, its mean"}.get(kind)
    return Planned(edits=tuple(edits), substitute=words, cut_parameters=lost)


def lost_reads(evidence: Evidence, reads: Sequence[SeenSite]) -> tuple[str, ...]:
    """Return the parameters without gradient once all reads are replaced, however often used."""
    own = {name for read in reads for name in read.run.parameters}
    own |= set(evidence.lost_leaves([read.run for read in reads]))
    return tuple(name for name in evidence.trace.gradients.parameters if name in own)


def check_no_other_use(evidence: Evidence, reads: Sequence[SeenSite]) -> None:
    """Refuse to replace a parameter in some places while others go on using it."""
    names = {name for read in reads for name in read.run.parameters}
    for module in evidence.trace.modules:
        kind = module.type.rpartition(".")[2]
        if module.ran and kind not in evidence.classes and names & set(module.own_parameters):
            raise NoLegalEdit(f"its layer ({kind}) goes on using it")
    keys = {read.key for read in reads}
    others = (site for site in evidence.ran_sites() if site.key not in keys)
    for site in (one for one in others if one.run.callee is Callee.ATTRIBUTE):
        if names & set(site.run.parameters) and not is_fact(site.source.parents[site.node]):
            line = getattr(site.node, "lineno", 0)
            raise NoLegalEdit(f"line {line} of {site.source.file} goes on using it")


def freeze_parameter(evidence: Evidence, names: set[str]) -> Planned:
    """Keep parameters at their initial values."""
    for key, made in evidence.trace.parameter_sites.items():
        if names & set(made):
            site = evidence.site(key)
            text = f"{operand_text(site.source, site.node)}.requires_grad_(False)"
            edit = replace_node(site.source, site.node, text)
            words = "itself as it starts: it does not learn"
            frozen = frozen_parameters(evidence, set(made))
            return Planned(edits=(edit,), substitute=words, cut_parameters=frozen)
    raise NoLegalEdit("the expression that makes it is not in the source files")
