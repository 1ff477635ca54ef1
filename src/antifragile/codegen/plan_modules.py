"""Edits of modules: at their construction, behind it for one layer, or of the stack's length.

The construction is replaced where nothing reads the module's attributes; its parameters are gone
then. Where code does read them (weight tying, initialisation by hand), the module stays and a
forward hook replaces what it returns; its parameters stay without gradient.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from antifragile.codegen.catalogue import Template, shape_relations
from antifragile.codegen.edits import Edit, insert_after, insert_helper
from antifragile.codegen.edits import replace as replace_node
from antifragile.codegen.joined import Joined, dotted, index_path
from antifragile.codegen.plan_record import (
    Plan,
    Shape,
    check_batch,
    check_numbers,
    fill_template,
    passed_operand,
    shape_pairs,
    shape_words,
    spaces,
    with_import,
)
from antifragile.codegen.records import AblationKind, ComponentKind
from antifragile.codegen.syntax import SourceFile
from antifragile.codegen.target import Refused, Target
from antifragile.codegen.trace import ModuleRun

_ORDINALS = ("its first", "its second", "its third", "its fourth")
_OTHERS = ("first", "second", "third", "fourth", "fifth", "sixth")
_SEVERAL = "it returns more than one tensor"
_POOLED = {2: "adaptive_avg_pool1d", 3: "adaptive_avg_pool2d", 4: "adaptive_avg_pool3d"}


def plan_modules(
    joined: Joined, target: Target, kind: AblationKind, templates: Sequence[Template]
) -> Plan:
    """Edit the expression that builds the modules."""
    assert target.site is not None
    source, node = joined.source(target.site), joined.node(target.site)
    text, helper, template = written(joined, target, kind, templates, source.source(node))
    edits = [replace_node(source, node, text)]
    return finished(joined, target, kind, template, source, node, edits, helper, text)


def plan_layer(
    joined: Joined, target: Target, kind: AblationKind, templates: Sequence[Template]
) -> Plan:
    """Edit one layer of a stack: a line behind the statement that builds the stack."""
    assert target.path is not None
    source, statement = building_statement(joined, target, target.path)
    attribute = f"self.{index_path(target.path)}"
    text, helper, template = written(joined, target, kind, templates, attribute)
    line = text if template.keep else f"{attribute} = {text}"
    edits = [insert_after(source, statement, guarded(joined, target, line))]
    return finished(joined, target, kind, template, source, statement, edits, helper, text)


def guarded(joined: Joined, target: Target, line: str) -> str:
    """Put a line behind a question where some objects of the owner's class lack the layer."""
    assert target.path is not None
    owners = [
        module
        for module in joined.trace.modules
        if module.type.rpartition(".")[2] == target.owner and (module.names or module.ran)
    ]
    if len(owners) <= len(target.modules):
        return line
    container, _, index = index_path(target.path).partition("[")
    question = f'hasattr(self, "{container}")'
    if index and "." not in container:
        question = f"len(self.{container}) > {index.partition(']')[0]}"
    return f"if {question}:\n    {line}"


def finished(
    joined: Joined,
    target: Target,
    kind: AblationKind,
    template: Template,
    source: SourceFile,
    node: ast.AST,
    edits: list[Edit],
    helper: str,
    text: str,
) -> Plan:
    """Add the helper and the prediction."""
    helper = with_import(joined, source, helper, text)
    if helper:
        edits.append(insert_helper(source, node, helper))
    delta = 0 if template.keep else joined.delta(target.modules)
    return Plan(
        edits=tuple(edits),
        substitute=template.substitute,
        parameter_delta=delta,
        cut_parameters=cut_parameters(joined, target, kind, template),
    )


def cut_parameters(
    joined: Joined, target: Target, kind: AblationKind, template: Template
) -> tuple[str, ...]:
    """Predict which parameters vanish or lose their gradient."""
    runs = [module for module in map(joined.module, target.modules) if module.ran]
    if kind is AblationKind.REINIT_FROZEN:
        own = {name for module in map(joined.module, target.modules) for name in module.parameters}
        if own >= set(joined.trace.gradients.parameters):
            raise Refused("no parameter would be left to train")
        return tuple(name for name in joined.trace.parameters if name in own)
    found: set[str] = set()
    if template.dead:
        found = set(joined.lost(runs))
    elif kind is AblationKind.IDENTITY:
        found = set(joined.lost(runs, template.bypass or passed_operand(runs)))
    if not template.keep:
        found |= set(joined.vanishing(target.modules))
    return tuple(name for name in joined.trace.parameters if name in found)


def written(
    joined: Joined,
    target: Target,
    kind: AblationKind,
    templates: Sequence[Template],
    call: str,
) -> tuple[str, str, Template]:
    """Choose the template that fits and fill it: (expression, helper, template)."""
    modules = [joined.module(number) for number in target.modules]
    runs = [module for module in modules if module.ran]
    source = joined.source(target.site) if target.site else next(iter(joined.sources.values()))
    if target.owner is not None:
        source = joined.classes[target.owner][0]
    if kind in (AblationKind.MEAN, AblationKind.SHUFFLE):
        check_batch(joined, runs)
    if kind is AblationKind.REINIT_FROZEN and any(module.is_reassigned for module in modules):
        raise Refused("its parameters are replaced after construction: freezing them has no effect")
    operand = passed_operand(runs) if kind is AblationKind.IDENTITY else "0"
    pairs = shape_pairs(runs, operand)
    template = chosen(joined, target, kind, templates, runs, pairs)
    if kind is AblationKind.IDENTITY and template.match == ("*",):
        check_numbers(runs, operand)
    values = {
        **{name: str(value) for name, value in runs[0].settings.items()},
        "call": call,
        **spaces(joined, source),
        **signature_words(operand, runs),
        **shape_words(pairs),
    }
    values["pooled"] = pooled(values["functional"], pairs)
    text, helper = fill_template(template, values)
    return text, helper, template


def chosen(
    joined: Joined,
    target: Target,
    kind: AblationKind,
    templates: Sequence[Template],
    runs: Sequence[ModuleRun],
    pairs: Sequence[tuple[Shape, Shape]],
) -> Template:
    """Return the first template that fits; say what stands in the way when none does."""
    modules = [joined.module(number) for number in target.modules]
    holds = {name for module in modules for name in module.parameters}
    shares = holds != set(joined.vanishing(target.modules))
    relations = shape_relations(pairs)
    names = {name for module in modules for name in module.extra}
    several_names = target.path is not None and any(len(module.names) > 1 for module in modules)
    must_keep = any(module.touched for module in modules) or several_names
    of_tensors = all(module.is_tensor for module in runs)
    for template in templates:
        if not all(template.fits(ComponentKind.MODULE, kind, module.type) for module in modules):
            continue
        if template.shapes not in relations or (must_keep and not template.keep):
            continue
        if template.arity is not None and len(names) + 1 != template.arity:
            continue
        if template.match == ("*",) and kind is not AblationKind.REINIT_FROZEN and not of_tensors:
            continue
        moves = template.shapes == "resized" and not template.keep
        if moves and (shares or not all(map(str.isdigit, names))):
            continue
        return template
    if not of_tensors:
        raise Refused(_SEVERAL)
    before, after = next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])
    raise Refused(f"it turns shape {before} into {after}: nothing of that shape stands in for it")


def signature_words(operand: str, runs: Sequence[ModuleRun]) -> dict[str, str]:
    """Return the placeholders that depend on the arguments of a call."""
    if not operand.isdigit() or int(operand) >= len(_OTHERS):
        raise Refused("its input is not given by position")
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
        "ordinal": _ORDINALS[min(place, 3)],
        "input": "x",
    }


def pooled(functional: str, pairs: Sequence[tuple[Shape, Shape]]) -> str:
    """Return the expression that averages x to `shape`, axis by axis where the rank stays."""
    ranks = {len(shape) for pair in pairs for shape in pair}
    if len(ranks) == 1 and (rank := ranks.pop()) in _POOLED:
        return f"{functional}.{_POOLED[rank]}(x.unsqueeze(1), shape).squeeze(1)"
    flat = f"{functional}.adaptive_avg_pool1d(x.flatten(1).unsqueeze(1), shape.numel())"
    return f"{flat}.reshape(-1, *shape)"


def building_statement(joined: Joined, target: Target, path: str) -> tuple[SourceFile, ast.stmt]:
    """Find the statement of the owner's __init__ behind which a stack is complete."""
    assert target.owner is not None
    source, owner = joined.classes[target.owner]
    init = next(
        (n for n in owner.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None
    )
    if init is None:
        raise Refused(f"{target.owner} has no __init__ behind which the layer could be replaced")
    module = joined.module(target.modules[0])
    sites = [*module.built_under, *module.built_at]
    nodes = [joined.node(site) for site in sites if site[0] == source.file]
    inside = [node for node in nodes if source.function_of(node) is init]
    first = path.split(".")[0].split("[")[0]
    inside += [node for node in ast.walk(init) if binds(node, first)]
    if not inside:
        raise Refused(f"__init__ of {target.owner} does not build it")
    statements = [source.outer_statement_of(node, init) for node in inside]
    return source, max(statements, key=lambda statement: statement.lineno)


def binds(node: ast.AST, name: str) -> bool:
    """Whether a node assigns to an attribute of self, or adds a module to it."""
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Store) and ast.unparse(node) == f"self.{name}"
    is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_method and ast.unparse(node).startswith(("self.add_module", "self.register_module"))


def plan_shrink(joined: Joined, target: Target) -> Plan:
    """Keep the first half of each stack: `self.blocks = self.blocks[:6]`."""
    stacks = stacks_of(joined, target)
    if target.path is not None or not stacks:
        raise Refused("it is not one stack of layers in a list or nn.Sequential")
    lines, dropped = [], set[int]()
    for (owner, container), members in stacks.items():
        keep = len(members) - len(members) // 2
        gone = [number for _, number in sorted(members.items())[keep:]]
        check_droppable(joined, gone)
        dropped.update(gone)
        name = f"self.{index_path(container)}"
        lines.append((owner, container, f"{name} = {name}[:{keep}]"))
    edits = []
    for owner, container, line in lines:
        place = Target(**{**vars(target), "owner": owner, "path": container})
        check_iterated(joined, owner, container)
        edits.append(insert_after(*building_statement(joined, place, container), line))
    numbers = sorted(dropped)
    return Plan(
        edits=tuple(edits),
        substitute="the first half of the layers",
        parameter_delta=joined.delta(numbers),
        cut_parameters=joined.vanishing(numbers),
    )


def stacks_of(joined: Joined, target: Target) -> dict[tuple[str, str], dict[int, int]]:
    """Return the stacks of a target: (owner, path of the stack) -> index -> module to drop."""
    assert target.site is not None
    node = joined.source(target.site).class_of(joined.node(target.site))
    rows = []
    for number in target.modules:
        owner = joined.owner_of(joined.module(number), node.name if node else None)
        if owner is None:
            return {}
        rows.append((owner[0], owner[1], dotted(owner[2]).split(".")))
    lengths = {len(parts) for _, _, parts in rows}
    if len(lengths) != 1 or len({name for _, name, _ in rows}) != 1:
        return {}
    varying = [
        place
        for place in range(lengths.pop())
        if len({parts[place] for _, _, parts in rows}) > 1
        and all(parts[place].isdigit() for _, _, parts in rows)
    ]
    if not varying:
        return {}
    place, found = varying[-1], dict[tuple[str, str], dict[int, int]]()
    for owner_class, owner_name, parts in rows:
        name = ".".join(filter(None, [owner_name, *parts[: place + 1]]))
        stack = found.setdefault((owner_class, ".".join(parts[:place])), {})
        stack[int(parts[place])] = joined.by_name[name]
    return {key: members for key, members in found.items() if len(members) > 1}


def check_droppable(joined: Joined, numbers: Sequence[int]) -> None:
    """Refuse to drop layers behind which the shape differs."""
    for number in numbers:
        module = joined.module(number)
        if module.ran and "same" not in shape_relations(shape_pairs([module], "0")):
            raise Refused("its last layers change the shape: the stack cannot be shortened")


def check_iterated(joined: Joined, owner: str, container: str) -> None:
    """Refuse stacks that are reached by a running index: it would run off the end."""
    node = joined.classes[owner][1]
    name = f"self.{index_path(container)}"
    for item in ast.walk(node):
        by_index = isinstance(item, ast.Subscript) and isinstance(item.slice, ast.Name | ast.BinOp)
        if by_index and ast.unparse(item).startswith(f"{name}["):
            raise Refused("its layers are reached by index: the stack cannot be shortened")
