"""Edits of modules at their construction, and functions that edits of stacks share with them.

The construction is replaced where nothing reads the module's attributes; its parameters are gone
then. Where code does read them (weight tying, initialisation by hand), the module stays and a
forward hook replaces what it returns; its parameters stay without gradient.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence, Set

from antifragile.ablate.discovery.evidence import Evidence, cut_of
from antifragile.ablate.plan.attempt import Attempt
from antifragile.ablate.plan.calls.several_inputs import (
    check_other_inputs,
    first_results,
    n_streams,
    passed_by_modules,
    words_of_streams,
)
from antifragile.ablate.plan.calls.unseen import is_written_behind, reads_of
from antifragile.ablate.plan.catalogue import FilledTemplate, Template, fill_template
from antifragile.ablate.plan.names import library_names, replaced
from antifragile.ablate.plan.operands import (
    POOLS,
    Shape,
    check_numbers,
    is_exposed,
    passed_operand,
    relations_of,
    shape_pairs,
    shape_words,
    types_within,
    words_of_results,
)
from antifragile.ablate.records import AblationKind, ComponentKind, Edit, NoLegalEdit, Planned
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.records import ModuleRun, Run

_ORDINALS = ("its first", "its second", "its third", "its fourth")
_BY_NAME = ", with_kwargs=True"  # an option of a hook that also gets the arguments by name
_IN_NEW_MEMORY = ("masked", "exposed", "resized")  # templates whose results are no views
_OF_ONE_SHAPE = ("same", "masked", "exposed")  # templates whose results are the input
_OTHERS = ("first", "second", "third", "fourth", "fifth", "sixth")


def plan_modules(attempt: Attempt) -> Planned:
    """Edit the expression that builds the modules."""
    source, node = attempt.site.source, attempt.site.node
    filled = filled_template(attempt, source, source.source(node))
    return with_effects(attempt, filled, replaced(attempt, node, filled.text, filled.helper))


def with_effects(attempt: Attempt, filled: FilledTemplate, edits: tuple[Edit, ...]) -> Planned:
    """Join edits with the predicted effects."""
    modules, template = attempt.target.modules, filled.template
    if attempt.kind is AblationKind.IDENTITY and not template.keep:
        check_inside(attempt, template)
    cut = cut_parameters(attempt, template)
    return Planned(
        edits=edits,
        substitute=filled.substitute or what_is_passed(attempt, cut),
        parameter_delta=0 if template.keep else attempt.evidence.delta(modules),
        cut_parameters=cut,
    )


def what_is_passed(attempt: Attempt, cut: Collection[str]) -> str | None:
    """Say which input is passed on where that is open, and which parameters go with the rest."""
    if attempt.kind is not AblationKind.IDENTITY:
        return None
    passed = passed_by_modules(attempt.evidence, attempt.runs, passed_operand(attempt.runs))
    used = used_without_holding(attempt, cut)
    if used:
        return f"{passed or 'its input'}; {', '.join(used)}, used inside it, go as well"
    return passed


def used_without_holding(attempt: Attempt, cut: Collection[str]) -> list[str]:
    """Return the parameters that modules use without holding them: a closure over another layer."""
    graph = attempt.evidence.trace.gradients
    operands = [given for run in attempt.runs for _, given in run.nodes]
    fed = graph.leading_to(node for given in operands for node in given.values())
    held = {name for module in attempt.modules for name in module.parameters}
    return [name for name in cut if name not in held and graph.parameters.get(name) not in fed]


def check_inside(attempt: Attempt, template: Template) -> None:
    """Refuse to remove modules of which inner results are used elsewhere, as from a shared list."""
    graph, runs = attempt.evidence.trace.gradients, attempt.runs
    way = "" if template.dead else template.bypass or passed_operand(runs)
    cut = {node: below for run in runs for node, below in cut_of(run, way)}
    given = {node for run in runs for _, operands in run.nodes for node in operands.values()}
    reached = graph.walk(cut) - cut.keys() - given
    inner = attempt.evidence.below(attempt.target.modules) - set(attempt.target.modules)
    for module in map(attempt.evidence.module, sorted(inner)):
        if any(node in reached for made, _ in module.nodes for node in made):
            raise NoLegalEdit(f"what {module.name} computes inside it is used elsewhere as well")


def cut_parameters(attempt: Attempt, template: Template) -> tuple[str, ...]:
    """Predict which parameters vanish or lose their gradient."""
    evidence, kind = attempt.evidence, attempt.kind
    runs: Sequence[Run] = attempt.runs
    is_identity = kind is AblationKind.IDENTITY
    operand = template.bypass or (passed_operand(runs) if is_identity else "0")
    streams = n_streams(runs, operand) if is_identity and template.of_tuple else 1
    if template.of_tuple:
        runs = [first_results(run, operand, streams) for run in attempt.runs]
    if kind is AblationKind.FREEZE:
        return frozen_parameters(
            evidence, {name for module in attempt.modules for name in module.parameters}
        )
    found: set[str] = set()
    if template.dead:
        found = set(evidence.lost(runs))
    elif is_identity:
        found = set(evidence.lost(runs, operand))
        check_other_inputs(attempt, {operand, *map(str, range(1, streams))}, found)
    if not template.keep:
        found |= set(evidence.vanishing(attempt.target.modules))
    return tuple(name for name in evidence.trace.parameters if name in found)


def frozen_parameters(evidence: Evidence, own: Set[str]) -> tuple[str, ...]:
    """Return the parameters that learn in the model, and no longer once they are frozen."""
    trained = evidence.trace.gradients.parameters
    if trained and own >= trained.keys():
        raise NoLegalEdit("no parameter would be left to train")
    found = tuple(name for name in evidence.trace.parameters if name in own and name in trained)
    if not found:
        raise NoLegalEdit("it is not trained: freezing it has no effect")
    return found


def filled_template(attempt: Attempt, source: SourceFile, call: str) -> FilledTemplate:
    """Choose the template that fits, and fill it.

    Args:
        attempt: The modules and the kind of ablation.
        source: The file that will hold the text.
        call: The expression that makes the modules or reads the one.
    """
    evidence, kind, runs = attempt.evidence, attempt.kind, attempt.runs
    numbers = [number for number in attempt.target.modules if evidence.module(number).ran]
    words = words_of_results(evidence, kind, runs, types_within(evidence, numbers))
    if kind is AblationKind.FREEZE and any(module.is_reassigned for module in attempt.modules):
        raise NoLegalEdit(
            "its parameters are replaced after construction: freezing them has no effect"
        )
    operand = passed_operand(runs) if kind is AblationKind.IDENTITY else "0"
    pairs, relations = shape_pairs(runs, operand), relations_of(runs, operand)
    if "same" in relations and any(is_written_behind(evidence, module) for module in runs):
        relations |= {"exposed"}
    template = chosen(attempt, operand, pairs, relations)
    if kind is AblationKind.IDENTITY:
        check_stand_in(runs, operand, template)
    signature = signature_words(operand, runs)
    values = {
        **{name: str(value) for name, value in runs[0].settings.items()},
        "call": call,
        "named": given_name(call),
        **library_names(evidence, source),
        **signature,
        **stream_words(signature["given"], n_streams(runs, operand)),
        **shape_words(pairs),
        **words,
    }
    values["pooled"] = pooled(values["functional"], pairs)
    return fill_template(template, values)


def given_name(call: str) -> str:
    """Return the argument that names a layer, as in `Dense(8, name="head")`; "" without one."""
    if call == "layer":
        return "name=layer.name"
    node = ast.parse(f"({call}\n)", mode="eval").body
    named = [item for item in getattr(node, "keywords", ()) if item.arg == "name"]
    return f"name={ast.unparse(named[0].value)}" if named else ""


def chosen(
    attempt: Attempt,
    operand: str,
    pairs: Sequence[tuple[Shape, Shape]],
    relations: Collection[str],
) -> Template:
    """Return the first template that fits, or refuse with the obstacle."""
    target, kind, modules = attempt.target, attempt.kind, attempt.modules
    holds = {name for module in modules for name in module.parameters}
    shares = holds != set(attempt.evidence.vanishing(target.modules))
    names = {name for module in modules for name in module.extra}
    several_names = target.path is not None and any(len(module.names) > 1 for module in modules)
    is_read = any(module.touched or any(reads_of(attempt.evidence, module)) for module in modules)
    must_keep = is_read or several_names
    skips_hooks = any(module.skips_hooks for module in modules)
    is_late = any(module.is_late for module in modules)
    of_tensors = all(module.is_tensor for module in attempt.runs)
    of_tuples = all(module.is_tuple for module in attempt.runs)
    is_named = kind is AblationKind.IDENTITY and not operand.isdigit()
    for template in attempt.templates:
        if not all(template.fits(ComponentKind.MODULE, kind, module.type) for module in modules):
            continue
        if template.shapes not in relations or (must_keep and not template.keep):
            continue
        if skips_hooks and "register_forward_hook" in (template.helper or ""):
            continue
        if template.arity is not None and len(names) + 1 != template.arity:
            continue
        if template.of_tuple and not of_tuples:
            continue
        is_for_any = template.match == ("*",) and kind is not AblationKind.FREEZE
        if is_for_any and not template.of_tuple and not of_tensors:
            continue
        if is_named and "{options}" not in (template.helper or ""):
            continue
        moves = template.shapes == "resized" and not template.keep
        if moves and (shares or is_late or not all(map(str.isdigit, names))):
            continue
        return template
    if not of_tensors:
        raise NoLegalEdit("it returns more than one tensor")
    if is_named:
        raise NoLegalEdit("its input is not given by position")
    if skips_hooks and (must_keep or kind is not AblationKind.IDENTITY):
        raise NoLegalEdit("its forward is called directly: no hook sees what it returns")
    if not pairs:
        raise NoLegalEdit("no tensor goes in whose shape could decide what stands in for it")
    before, after = next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])
    raise NoLegalEdit(
        f"it turns shape {before} into {after}: nothing of that shape stands in for it"
    )


def check_stand_in(runs: Sequence[ModuleRun], operand: str, template: Template) -> None:
    """Refuse to pass an input on that is no stand-in: of another type, masked, written into."""
    check_mask(runs, operand, is_input=template.shapes in _OF_ONE_SHAPE)
    if template.match == ("*",):
        check_numbers(runs, operand)
    if template.shapes not in _IN_NEW_MEMORY:
        check_alone_in_memory(runs, template.bypass or operand)


def check_mask(runs: Sequence[Run], operand: str, *, is_input: bool) -> None:
    """Refuse a stand-in that lets a Keras mask go on, or ends it, otherwise than the layer did.

    Args:
        runs: The layers.
        operand: The input that is passed on.
        is_input: Whether it goes on as it is, its mask included.
    """
    for run in runs:
        before, after = run.operands.get(operand), run.outputs[0]
        if is_input and before and before.hides_positions and not after.hides_positions:
            raise NoLegalEdit("it ends the mask of its input, which would reach later layers then")
        if not is_input and after.hides_positions:
            raise NoLegalEdit("a mask goes on with what it returns, which would end there")


def check_alone_in_memory(runs: Sequence[Run], operand: str) -> None:
    """Refuse to hand on an operand that later code would change while others use it."""
    if is_exposed(runs, operand):
        raise NoLegalEdit(
            "later code writes in place into what it returns: its input, which others use, would "
            "change too"
        )


def signature_words(operand: str, runs: Sequence[ModuleRun]) -> dict[str, str]:
    """Return the placeholders that depend on the arguments of a call."""
    if not operand.isdigit():
        if not operand.isidentifier() or not all(operand in run.operands for run in runs):
            raise NoLegalEdit("its input is not given in the same way each time")
        given = f'kwargs["{operand}"]'
        return {"hooked": "layer, args, kwargs, output", "given": given, "options": _BY_NAME}
    if int(operand) >= len(_OTHERS):
        raise NoLegalEdit("its input is not given by position")
    place = int(operand)
    before = list(_OTHERS[:place])
    extra = {name for module in runs for name in module.extra}
    rest = ["*args", "**kwargs"] if extra else []
    others = ', *(value.to("meta") for value in args)' if extra else ""
    firsts = "".join(f'{name}.to("meta"), ' for name in before)
    return {
        "signature": ", ".join([*before, "x", *rest]),
        "meta": f'{firsts}x.to("meta"){others}',
        "position": str(place),
        "hooked": "layer, args, output",
        "given": f"args[{place}]",
        "options": "",
        "ordinal": _ORDINALS[min(place, 3)],
        "input": "x",
    }


def stream_words(given: str, n: int) -> dict[str, str]:
    """Return the placeholders of templates for modules that hand on n tensors, the first given."""
    streams = ", ".join([given, *(f"args[{place}]" for place in range(1, n))])
    return {"streams": streams, "rest": f"output[{n}:]", "handed": words_of_streams(n)}


def pooled(functional: str, pairs: Sequence[tuple[Shape, Shape]]) -> str:
    """Return the expression that averages x to `shape`, axis by axis; "" where none does."""
    ranks = {len(shape) for pair in pairs for shape in pair}
    rank = ranks.pop() if len(ranks) == 1 else 0
    if rank in POOLS:
        return f"{functional}.{POOLS[rank]}(x.unsqueeze(1), shape).squeeze(1)"
    if rank == len(POOLS) + 2:  # volumes: first their positions, then their channels
        volumes = f"{functional}.adaptive_avg_pool3d(x, shape[1:]).flatten(2).mT"
        return f"{functional}.adaptive_avg_pool1d({volumes}, shape[0]).mT.reshape(-1, *shape)"
    return ""
