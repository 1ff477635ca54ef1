"""Records of one watched run of a model, joined with the numbered sites of its source.

A framework's `trace` imports reporting copies of the sources, runs build and inputs, one forward in
training mode and one in evaluation mode (and the step, if the project has one), and further ones on
another number of samples, which show along which axes samples lie. Which parameters
would lose their gradient if a site were cut is read off the gradient graph of the first forward.
The records are plain data: they can be sent to another process. The code that runs is the user's,
so tracing belongs in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from antifragile.ablate.records import SiteKey


class Callee(StrEnum):
    """Kinds of things that a site calls or reads."""

    MODULE = "module"
    FUNCTION = "function"  # of torch or another library
    METHOD = "method"  # of a tensor
    OTHER = "other"
    OPERATOR = "operator"  # a + b, a - b, a * b, a / b, out += b
    ATTRIBUTE = "attribute"  # the value is a parameter


@dataclass(frozen=True, kw_only=True)
class Value:
    """One tensor that was seen: all that decides which edit is legal."""

    shape: tuple[int, ...]
    dtype: str
    parameter: str | None = None  # its name, when it is a parameter of the model
    producer: str = ""  # the operation that made it, views left out, e.g. "SigmoidBackward0"
    made_by: int | None = None  # the module whose call returned it
    in_unit: bool = False  # every value within [0, 1] over all calls (noted for factors only)
    batch_axes: tuple[int, ...] | None = None  # of the samples, in every call: (axis,), or () where
    # no size depends on their number; None: they lie along no axis of their own, or it is not known
    means: tuple[tuple[float, ...], ...] = ()  # of an input: along each axis, over all the others
    masked: bool = False  # some values are -infinity, or so low that they stand for it
    hides_positions: bool = False  # Keras's mask goes with it: some positions are padding

    @property
    def is_floating(self) -> bool:
        """Whether it holds real numbers."""
        return "float" in self.dtype


@dataclass(frozen=True, kw_only=True)
class Run:
    """Calls of one site, operator or module: the first in full, the others as counts and shapes.

    Operands are keyed by position ("0", "1"), name, "self" for methods, "0.1" inside a list.
    `nodes` has one entry per call of the training forward: the autograd nodes of the results, and
    those of the operands. `exposed` are operands that something else uses too, and that later code
    would change if they took the result's place, since it writes into the result in place.
    """

    calls: int = 0
    eval_calls: int = 0
    other_calls: int = 0  # outside the two forwards: in build, at import, in the step
    operands: Mapping[str, Value] = field(default_factory=dict)
    outputs: tuple[Value, ...] = ()
    is_tensor: bool = False  # the result is one tensor, not a tuple or a list
    n_leading: int = 0  # items at the head of a plain tuple that are tensors in every call
    signatures: tuple[tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]], ...] = ()
    nodes: tuple[tuple[tuple[int, ...], Mapping[str, int | None]], ...] = ()
    exposed: tuple[str, ...] = ()

    @property
    def is_tuple(self) -> bool:
        """Whether it is a plain tuple in every call, whose first item is a tensor."""
        return self.n_leading > 0

    @property
    def ran(self) -> bool:
        """Whether it ran in the training or the evaluation forward."""
        return self.calls + self.eval_calls > 0


@dataclass(frozen=True, kw_only=True)
class SiteRun(Run):
    """Calls of one numbered site of the source."""

    callee: Callee = Callee.OTHER
    name: str = ""  # the function's: "relu", "cat", "rearrange"
    modules: tuple[int, ...] = ()  # called here, as numbers in `Trace.modules`
    parameters: tuple[str, ...] = ()  # read here, over all calls
    arguments: Mapping[str, object] = field(default_factory=dict)  # plain numbers and texts


@dataclass(frozen=True, kw_only=True)
class ModuleRun(Run):
    """One module object: its names, where it was built, what it did."""

    names: tuple[str, ...]
    type: str  # "torch.nn.modules.linear.Linear"
    parameters: tuple[str, ...] = ()  # all below it
    own_parameters: tuple[str, ...] = ()  # its own, not its children's
    children: int = 0
    built_at: tuple[SiteKey, ...] = ()  # sites that returned it as new, innermost first
    built_under: tuple[SiteKey, ...] = ()  # the calls that were active then, outermost first
    first_seen: int = 0  # its place in the order in which modules were seen; 0: never by itself
    used_at: tuple[SiteKey, ...] = ()
    extra: tuple[str, ...] = ()  # arguments it was given beside the first: "1", "mask"
    touched: tuple[str, ...] = ()  # attributes read from it that nn.Identity lacks
    settings: Mapping[str, object] = field(default_factory=dict)  # plain attributes: p, num_heads
    is_reassigned: bool = False  # a parameter was replaced after construction, e.g. tied
    skips_hooks: bool = False  # called by its forward, or by a `__call__` of its own class
    has_hooks: bool = False  # functions of the model's that run around its calls
    is_late: bool = False  # its parameters appeared at its first call
    passes_input: bool = False  # every call returned the one tensor it was given, as it was
    is_container: bool = False  # never called itself: ModuleList, ModuleDict, a Python list
    title: str = ""  # its name as the framework shows it, where that is another one

    @property
    def name(self) -> str:
        """The shortest of its names, the first to be registered among equals."""
        return min(self.names, key=lambda name: name.count(".")) if self.names else ""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The samples in the inputs: how many, or why it is not known along which axis they lie."""

    size: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """The autograd graph of the training forward as numbers: node -> the nodes it depends on.

    `origins` are the nodes through which the output depends on the model's inputs.
    """

    successors: tuple[tuple[int, ...], ...] = ()
    starts: tuple[int, ...] = ()
    parameters: Mapping[str, int] = field(default_factory=dict)
    origins: tuple[int, ...] = ()

    def walk(self, cut: Mapping[int, tuple[int, ...]]) -> set[int]:
        """Return the nodes still reached from the outputs when some nodes get other successors."""
        seen = set(self.starts)
        queue = list(seen)
        while queue:
            number = queue.pop()
            for below in cut.get(number, self.successors[number]):
                if below not in seen:
                    seen.add(below)
                    queue.append(below)
        return seen

    def leading_to(self, nodes: Iterable[int | None]) -> set[int]:
        """Return some nodes and all that they depend on; None stands for no node."""
        starts = tuple({node for node in nodes if node is not None})
        return replace(self, starts=starts).walk({})


@dataclass(frozen=True, kw_only=True)
class Initialisation:
    """Parameters that one call of the model's construction filled, under all their names.

    Args:
        filled: All of them.
        told: Those whose values look otherwise than without the call.
        needed: Those that would hold no values without it.
    """

    filled: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trace:
    """All that discovery and generation know about the run.

    Args:
        framework: Name of the framework: it decides which templates apply and how helpers call
            the library.
        sha256: Digest of each source file.
        sites: Calls by numbered site.
        modules: All module objects; number 0 is the model itself.
        parameters: Number of values by name.
        gradients: Which parameters the outputs reach, and through what.
        aliases: Names of the framework's libraries in each file: file -> library -> name there.
        inputs: The model's inputs; None for those that are no tensors.
        outputs: The tensors in the model's output.
        parameter_sites: Names of the parameters that a site created.
        input_names: The names of `inputs`: "0" by position, "mask" by keyword, "0[a]" inside one.
        remarks: Sentences for the user: what could not be noted, how the model had to be called.
        batch: The samples in the inputs.
        initialisations: Parameters that a call of the construction filled.
        parameter_reads: All names of the parameter that an attribute showed in the construction.
        versions: Keras and its back end with their versions; "" of other frameworks.
    """

    framework: str
    sha256: Mapping[str, str]
    sites: Mapping[SiteKey, SiteRun]
    modules: tuple[ModuleRun, ...]
    parameters: Mapping[str, int]
    gradients: Gradients
    aliases: Mapping[str, Mapping[str, str]]
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    parameter_sites: Mapping[SiteKey, tuple[str, ...]] = field(default_factory=dict)
    input_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    batch: Batch = Batch(reason="it was not looked for")
    initialisations: Mapping[SiteKey, Initialisation] = field(default_factory=dict)
    parameter_reads: Mapping[SiteKey, tuple[str, ...]] = field(default_factory=dict)
    versions: str = ""
