"""Frozen, picklable records that discovery, planning, generation and certification hand on.

    Component (found) -> Target (with its places) -> Planned | Refused -> Variant -> Certificate

Those that are stored turn into JSON by `dataclasses.asdict` and back by `_records.from_json`; paths
are text relative to the project's root, so that a folder of variants can be moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from antifragile._shown import in_short

if TYPE_CHECKING:  # a table is made on demand
    import pandas as pd

INPUT_PREFIX = "input:"  # begins the names of a model's inputs and of their features
MARK_PREFIX = "mark:"  # begins the names of what the user marked

SiteKey = tuple[str, int]  # file relative to the root, number of the site in it


class ComponentKind(StrEnum):
    """Kinds of components, in the words of the model's author."""

    MODULE = "module"  # a leaf nn.Module
    BLOCK = "block"  # an nn.Module with children
    FUNCTIONAL = "functional"  # F.relu(x), x.tanh(), torch.dropout(...)
    RESIDUAL = "residual"  # x + f(x), x - f(x): branch f(x) and skip x, cut separately
    SUM = "sum"  # a + b, neither computed from the other: one of the two
    GATE = "gate"  # a * sigmoid(b)
    PRODUCT = "product"  # a * b, neither plainly a gate: one of the two
    SCALE = "scale"  # 0.5 * a, a / sqrt(d), a / a.norm(): the factor or divisor
    CONCATENATION = "concatenation"  # torch.cat([a, b]): one operand at a time
    HEADS = "heads"  # attention heads, cut before the output projection
    EMBEDDING = "embedding"  # nn.Embedding, position parameters
    REPEATED = "repeated"  # blocks of one ModuleList, list or loop: one of them or all
    INPUT = "input"  # an input tensor, a feature of it, or a group of features
    PART = "part"  # of a library's transformer layer: its norm, attention, feed-forward, ...
    MASK = "mask"  # a mask that a call of attention is given
    PARAMETER = "parameter"  # a raw nn.Parameter used in forward
    INITIALISATION = "initialisation"  # a statement that fills parameters by hand
    TIED = "tied"  # `head.weight = embedding.weight`
    FLAG = "flag"  # an option of a class that is switched on
    MARKED = "marked"  # lines the user marked with `# ablate: name`


class AblationKind(StrEnum):
    """Ways to ablate a component."""

    IDENTITY = "identity"
    REMOVE_BRANCH = "remove-branch"
    REMOVE_SKIP = "remove-skip"
    ZERO = "zero"
    MEAN = "mean"
    CONSTANT = "constant"
    FREEZE = "freeze"  # it stays as it starts, pretrained values too: frozen
    SHUFFLE = "shuffle"
    SHRINK = "shrink"
    DROP_HEAD = "drop-head"
    DISABLE = "disable"


class CertificateVerdict(StrEnum):
    """Results of certification; the first two are run in a study, the second marked."""

    CERTIFIED = "certified"
    INACTIVE_AT_INIT = "certified-inactive-at-init"
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def is_certified(self) -> bool:
        """Whether it is one of the first two."""
        return self in (CertificateVerdict.CERTIFIED, CertificateVerdict.INACTIVE_AT_INIT)


@dataclass(frozen=True, kw_only=True)
class Span:
    """A piece of source: file below the root, lines from 1, columns from 0, end exclusive."""

    file: str
    start_line: int
    start_column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Replace the characters start..end (end exclusive) of a file by a text."""

    file: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Component:
    """One ablatable part of the model, found in the source and, if `ran`, seen in the execution.

    `shapes` are those of the first call: inputs, then output, e.g. ((2, 3, 8), (2, 3, 8)).
    `kinds` are the ablations that make sense for it, legal ones first (the first is the default);
    empty when `reason` says why none does. `removes` says of an operator which operand each kind
    takes away. What is left out has nothing to take away, or is another component by a second name:
    it is told apart from the components, with its reason.
    """

    name: str  # unique, a path a reader can find: "Block.forward:attn", "transformer.h.3.mlp"
    kind: ComponentKind
    span: Span
    ran: bool
    calls: int = 0
    parameters: int = 0
    input_shapes: tuple[tuple[int, ...], ...] = ()
    output_shapes: tuple[tuple[int, ...], ...] = ()
    modules: tuple[str, ...] = ()  # qualified module names (named_modules) that it stands for
    kinds: tuple[AblationKind, ...] = ()
    reason: str | None = None
    removes: Mapping[AblationKind, str] = field(default_factory=dict)
    is_left_out: bool = False


@dataclass(frozen=True, kw_only=True)
class Target:
    """A component together with the places in the source and the execution that an edit needs.

    `site` is the expression that is edited: a call, an operator, an attribute, or the construction
    of the modules in `modules`. `path` is set for one of several repeated layers: the attribute to
    replace after construction, e.g. "layer2[0]" on an object of class `owner`.
    """

    component: Component
    site: SiteKey | None = None
    sites: tuple[SiteKey, ...] = ()
    modules: tuple[int, ...] = ()
    operand: str | None = None
    owner: str | None = None
    path: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def named(self, name: str) -> Target:
        """Return the same target under another name."""
        return replace(self, component=replace(self.component, name=name))


class NoLegalEdit(Exception):
    """Raised while an edit is planned; the message is the reason, a clause without a full stop."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A kind of ablation without a legal edit; the reason is a clause without a full stop."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The edits of one variant and the effects that they promise (see `Variant`)."""

    edits: tuple[Edit, ...]
    substitute: str | None = None
    parameter_delta: int | None = 0
    cut_parameters: tuple[str, ...] = ()
    own_values: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ComponentPlan:
    """A component with the plans of each of its kinds; a kind has several for several heads."""

    component: Component
    outcomes: Mapping[AblationKind, tuple[Planned, ...] | Refused]


@dataclass(frozen=True, kw_only=True, repr=False)
class AblationPlan:
    """All components of a model, ablatable or not, and every edit that can be made of them.

    `framework` names the framework of the model, `versions` its version and back end where it
    has several; `sha256` holds the hash of every source file at
    the time of planning.
    """

    project: Project
    framework: str
    sha256: Mapping[str, str]
    plans: tuple[ComponentPlan, ...]
    versions: str = ""

    def __repr__(self) -> str:
        n = sum(not item.is_left_out for item in self.components)
        return in_short(self, f"{n} components", "a row for each")

    @property
    def components(self) -> tuple[Component, ...]:
        """The components in the order of the source."""
        return tuple(plan.component for plan in self.plans)

    def frame(self) -> pd.DataFrame:
        """The components, one a row; what is left out is no row."""
        import pandas as pd  # takes a second; most uses need no table

        rows = [
            {
                "component": item.name,
                "kind": item.kind.value,
                "file": item.span.file,
                "line": item.span.start_line,
                "ran": item.ran,
                "calls": item.calls,
                "parameters": item.parameters,
                "cut_by": ", ".join(kind.value for kind in item.kinds),
                "reason": item.reason or "",
            }
            for item in self.components
            if not item.is_left_out
        ]
        return pd.DataFrame(rows)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """`FILE.py:function`, the file relative to the project's root."""

    file: str
    function: str


@dataclass(frozen=True, kw_only=True)
class Project:
    """A model as its author left it: files below one root, and the functions that bring it to life.

    `build()` returns the model, `inputs()` its inputs (see `trace.calls`), `step(model, *inputs)`,
    where given, the loss of one training step (marked lines are judged by it). Without `inputs`,
    `step(model)` makes its own batch and calls the model.
    """

    root: str  # absolute
    sources: tuple[str, ...]  # files that may be edited, relative to the root
    build: Entry
    inputs: Entry | None = None
    step: Entry | None = None
    search_paths: tuple[str, ...] = (".",)  # folders for sys.path, relative to the root
    companions: tuple[str, ...] = ()  # further local files that the sources import, copied as is
    installed: tuple[str, ...] = ()  # those of installed packages, which no variant's folder holds

    @property
    def entries(self) -> dict[str, Entry]:
        """The functions that are given, by role."""
        roles = {"build": self.build, "inputs": self.inputs, "step": self.step}
        return {role: entry for role, entry in roles.items() if entry is not None}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One generated folder: the files with one ablation, and the effects it promises.

    `cut_parameters` are the names (named_parameters of the baseline) that vanish or lose their
    gradient; `parameter_delta` is the predicted change in the number of parameters, None where only
    a run can tell (an option of the model is switched off). `own_values`
    are parameters whose initial values are what is ablated: they keep the variant's own, where all
    others start from the baseline's.
    """

    component: str
    kind: AblationKind
    folder: str  # relative to the output folder; "" when refused before anything was written
    edited: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()  # the smallest that make it; kept to combine variants
    diff_lines: int = 0  # added plus removed lines of the unified diff
    parameter_delta: int | None = 0
    cut_parameters: tuple[str, ...] = ()
    own_values: tuple[str, ...] = ()
    substitute: str | None = None  # "average pool 2x2 and zero padding of 32 channels"
    removes: str | None = None  # the operand that goes, where a component has several
    refusal: str | None = None  # the reason, when no legal edit exists
    options: dict[str, str] = field(default_factory=dict)  # head = "3", block = "1", ...
    has_run: bool = True  # whether its component did; marked lines are planned without it


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The proof of one variant: each check with its result in words.

    It holds for files with the hashes of `files` (the variant's) and `baseline_files` alone.
    """

    component: str
    kind: AblationKind
    verdict: CertificateVerdict
    reason: str
    checks: dict[str, str] = field(default_factory=dict)
    parameter_delta: int = 0
    without_gradient: tuple[str, ...] = ()
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)  # path in its folder -> SHA-256
    baseline_files: dict[str, str] = field(default_factory=dict)
