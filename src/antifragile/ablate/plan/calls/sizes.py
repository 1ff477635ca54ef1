"""Shapes that an edit writes in the place of a result's: recorded, or those of a harmless call."""

from __future__ import annotations

import re
from dataclasses import replace

from antifragile.ablate.discovery.arithmetic import operand_nodes
from antifragile.ablate.discovery.evidence import Evidence, SeenSite
from antifragile.ablate.plan.calls.once import is_plain
from antifragile.ablate.plan.catalogue import Template
from antifragile.ablate.plan.operands import shape_pairs
from antifragile.ablate.records import NoLegalEdit
from antifragile.ablate.trace.records import Callee, SiteRun

_STATELESS = re.compile(  # no draws, nothing that one call leaves for the next
    r"torch\.nn\.modules\.(linear|conv|pooling|padding|upsampling)\.(?!Fractional|Lazy)\w+"
)


def with_shape(
    evidence: Evidence, site: SeenSite, template: Template, operand: str
) -> tuple[Template, str]:
    """Write the shape of a call's result, without its first axis, into a template; and in words.

    What has no state may run for its shape alone. Other layers would still count batches and draw
    numbers, so their recorded sizes stand there.

    Raises:
        NoLegalEdit: Such a layer returned other sizes from call to call.
    """
    given, sizes = operand_nodes(site.node).get(operand), recorded_sizes(site.run, operand)
    may_run = is_stateless(evidence, site.run)
    if may_run and (sizes is None or given is None or is_plain(given)):
        shape, words = "{call}.shape[1:]", "the shape of the old result"
    elif sizes is not None:
        shape, words = sizes, f"the recorded sizes of the old result, {sizes}"
        words += " (None: as in the input)" if "None" in sizes else ""
    else:
        raise NoLegalEdit(
            "the sizes of its result are not known to be the same in every call and for any number "
            "of samples, and only running it could tell them"
        )
    return replace(template, replacement=template.replacement.replace("{shape}", shape)), words


def is_stateless(evidence: Evidence, run: SiteRun) -> bool:
    """Whether a call is that of a function, or of layers of the library that keep and draw nothing.

    Functions that draw or keep something are not among those that templates name by their shape.
    """
    modules = list(map(evidence.module, run.modules))
    return run.callee is not Callee.MODULE or all(
        _STATELESS.fullmatch(module.type) and not module.has_hooks for module in modules
    )


def recorded_sizes(run: SiteRun, operand: str) -> str | None:
    """Return the sizes of a result without its first axis, as text; None where they vary.

    A size that is always the input's is None, as in PyTorch's adaptive pooling, and may vary.
    """
    pairs, samples = shape_pairs([run], operand), run.outputs[0].batch_axes
    texts = []
    for axis in range(1, len(pairs[0][1])):
        sizes = {after[axis] for _, after in pairs}
        if all(before[axis] == after[axis] for before, after in pairs):
            texts.append("None")
        elif len(sizes) > 1 or samples is None or axis in samples:
            return None
        else:
            texts.append(str(sizes.pop()))
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"
