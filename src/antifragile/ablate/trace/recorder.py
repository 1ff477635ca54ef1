"""The recorder that takes notes while the instrumented model runs: the part all frameworks share.

One recorder lives for one trace. It keeps every object it has seen alive, so that an `id` stands
for one object. Module calls are seen by wrapping the module class's `__call__`, which also catches
children that a library container calls; module construction is seen at the call sites that return
a new module. A framework's own recorder says what its tensors, nodes and modules are.
"""

from __future__ import annotations

import ast
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial, wraps
from itertools import takewhile
from numbers import Real
from pathlib import Path
from typing import Any

from antifragile.ablate.records import SiteKey
from antifragile.ablate.sandbox.loading import describe, stage
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.batch import FoundBatch
from antifragile.ablate.trace.instrument import ReportingFinder
from antifragile.ablate.trace.nested import Named, tensors_in
from antifragile.ablate.trace.notes import ModuleNotes, Notes, Operands, Phase
from antifragile.ablate.trace.plain import named, plain_arguments
from antifragile.ablate.trace.records import Batch, Callee, Value

_MAX_SIGNATURES = 64
_MAX_CALLS = 256  # of one place, of which shapes are noted to find the batch axis

OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
PRODUCTS = ("*", "*=", "mul", "mul_", "multiply", "multiply_")

# sign, operands, these in plain data, operands that are numbers
_Operation = tuple[str, Operands, Mapping[str, Value], Mapping[str, float]]


class Recorder(ABC):
    """The notes of one trace.

    Attributes:
        modes: Arguments of a module that only say in which mode it runs.

    Args:
        module_class: The framework's class of modules.
        attributes: Attributes of a module that does nothing; reads of others are noted.
        sources: The sources to watch, by file.
    """

    modes: tuple[str, ...] = ()

    def __init__(
        self, module_class: Any, attributes: frozenset[str], sources: Mapping[str, SourceFile]
    ) -> None:
        self._module_class = module_class
        self._attributes = attributes
        self.sources = sources
        self.phase = Phase.OTHER
        self.sites: dict[SiteKey, Notes] = {}
        self.modules: dict[int, ModuleNotes] = {}
        self.stack: list[SiteKey] = []
        self.clock = 0
        self.keep: list[object] = []
        self.running: set[int] = set()  # ids of the modules whose call is under way
        self.makers: dict[int, int] = {}  # id of a tensor -> id of the module that returned it
        self.remarks: dict[str, None] = {}  # what the user should know about the trace, in words
        self.found = FoundBatch(batch=Batch(reason="it was not looked for"))
        self._pending: dict[SiteKey, _Operation | None] = {}  # each `+=` that is under way

    def hooks(self) -> dict[str, object]:
        """Return the reporters under the names the instrumented code uses."""
        return {
            "__af_call__": self.on_call,
            "__af_binary__": self.on_binary,
            "__af_attribute__": self.on_attribute,
            "__af_item__": self.on_item,
            "__af_operand__": self.on_operand,
            "__af_done__": self.on_done,
        }

    @contextmanager
    def watching(self, root: str) -> Iterator[None]:
        """Take notes: sources that are imported from now on, and calls of modules, report here.

        Modules report every call, also those that libraries make.

        Args:
            root: The project's folder.
        """
        paths = {Path(root, file).resolve(): source for file, source in self.sources.items()}
        ReportingFinder(paths, self.hooks()).install()
        original = self._module_class.__call__

        @wraps(original)
        def watched(module: Any, *args: object, **kwargs: object) -> Any:
            if not self.is_watching or id(module) in self.running:
                return original(module, *args, **kwargs)
            return self.on_module(module, original, args, kwargs)

        self._module_class.__call__ = watched
        try:
            yield
        finally:
            self._module_class.__call__ = original

    @contextmanager
    def forward(self, phase: Phase, words: str) -> Iterator[None]:
        """Make what runs inside one of the two forwards."""
        self.phase = phase
        try:
            with stage(f"the forward pass in {words} mode"):
                yield
        finally:
            self.phase = Phase.OTHER

    def forget_forwards(self) -> None:
        """Drop the notes of both forwards, which did not come to their end."""
        for notes in [*self.sites.values(), *self.modules.values()]:
            notes.calls |= {Phase.TRAIN: 0, Phase.EVAL: 0}
            notes.operands, notes.outputs = {}, ()
            notes.signatures.clear()
            notes.nodes.clear()
            notes.rewritten.clear()

    @contextmanager
    def noting_shapes(self, phase: Phase) -> Iterator[None]:
        """Note only shapes in a further forward; those of an earlier one are forgotten."""
        for notes in [*self.sites.values(), *self.modules.values()]:
            notes.shapes.pop(phase, None)
        self.phase = phase
        try:
            yield
        finally:
            self.phase = Phase.OTHER
            self._pending.clear()

    def forget(self) -> None:
        """Drop all notes on sites and modules."""
        self.sites.clear()
        self.modules.clear()

    def on_call(
        self, key: SiteKey, function: Callable[..., Any], /, *args: object, **kwargs: object
    ) -> Any:
        """Evaluate `function(*args, **kwargs)` and note it."""
        notes = self.sites.setdefault(key, Notes())
        notes.calls[self.phase] += 1
        before = self.noted(self.operands, function, args, kwargs) if self.is_watching else {}
        is_product = bool(before) and getattr(function, "__name__", "") in PRODUCTS
        values = self.noted(self._values, before, check_range=True) if is_product else None
        self.noted(self.note_method, key, function)
        started = self.clock
        self.stack.append(key)
        try:
            result = self.noting_module(function)(*args, **kwargs)
        finally:
            self.stack.pop()
        self.noted(self.note_callee, key, notes, function)
        if self.is_watching:
            if not notes.arguments:
                notes.arguments.update(plain_arguments(args, kwargs))
            seen = self.seen_by(notes, before)
            self.noted(self.note_values, notes, before, result, seen=seen, values=values or None)
        is_known = id(result) in self.modules
        if is_known or result is not getattr(function, "__self__", None):  # `self.to(device)`
            self.noted(self.note_made, key, result, started)
        return result

    def noted(self, take: Callable[..., Any], *args: object, **kwargs: object) -> Any:
        """Take a note; where that fails, the failure is ours, and the model runs on without it.

        Returns:
            The note, or an empty one.
        """
        try:
            return take(*args, **kwargs)
        except MemoryError:
            raise
        except Exception as error:
            self.remarks.setdefault(
                "the tracer left out some operations of the model, which is a failure of "
                f"antifragile: {take.__name__} raised {describe(error)}"
            )
            return {}

    def noting_module(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, or one that also notes the module that it runs, unseen by `watching`."""
        module = self.unseen_module(function) if self.is_watching else None
        if module is None or id(module) in self.running:
            return function

        def noted(*args: object, **kwargs: object) -> Any:
            self.module_notes(module).skips_hooks = True
            return self.on_module(module, lambda _, *a, **k: function(*a, **k), args, kwargs)

        return noted

    def unseen_module(self, function: Callable[..., Any]) -> Any:
        """The module that a call runs where it passes by the module class's `__call__`, or None."""
        return None

    def operands(
        self, function: object, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Operands:
        """The tensors among the arguments: name -> (tensor, node)."""
        given = self.given(function, named(args, kwargs))
        return {name: (item, self.node(item)) for name, item in given if self.is_tensor(item)}

    @abstractmethod
    def given(self, function: object, arguments: Iterable[Named]) -> Iterator[Named]:
        """All that a call is given and that may be a tensor: arguments, and items of lists."""

    @abstractmethod
    def note_method(self, key: SiteKey, function: Callable[..., Any]) -> None:
        """Note the function that is to be called where it belongs to a module."""

    @abstractmethod
    def note_callee(self, key: SiteKey, notes: Notes, function: Callable[..., Any]) -> None:
        """Note the kind of function that was called, in a forward or not."""

    def seen_by(self, notes: Notes, before: Operands) -> Iterable[Any]:
        """Further nodes that the result of a call may depend on."""
        return ()

    def is_guarded(self, file: str, number: int) -> bool:
        """Whether an attribute read at a site does not count: its owner reads it itself."""
        node = self.sources[file].sites[number]
        owner = getattr(getattr(node, "func", node), "value", None)
        return isinstance(owner, ast.Name) and owner.id == "self"

    def note_made(self, key: SiteKey, result: object, started: int) -> None:
        """Note where a module was returned: as new, if first seen after the call started."""
        if not isinstance(result, self._module_class):
            return
        is_known = id(result) in self.modules
        notes = self.module_notes(result)
        if not is_known:
            notes.built_under = tuple(self.stack)
        if not self.is_watching:
            is_old = notes.first_seen <= started
            (notes.returned_at if is_old else notes.built_at).append(key)

    @abstractmethod
    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of the framework."""

    @abstractmethod
    def array(self, tensor: Any) -> Any:
        """A tensor's values as an array of NumPy, real numbers in double precision."""

    @abstractmethod
    def copied(self, tensor: Any) -> Any:
        """A copy of a tensor's values, which later writes in place do not change."""

    @abstractmethod
    def is_equal(self, one: Any, other: Any) -> bool:
        """Whether two tensors hold the same values."""

    @abstractmethod
    def node(self, tensor: Any) -> Any:
        """The node of a tensor in the gradient graph of the training forward, or None."""

    @abstractmethod
    def nodes_of(self, outputs: Sequence[Any], before: Operands, seen: Iterable[Any]) -> list[Any]:
        """The nodes of a call's outputs in the training forward.

        Args:
            outputs: Its tensors.
            before: Operand -> (tensor, node).
            seen: Further nodes that they may depend on.
        """

    @abstractmethod
    def value(self, tensor: Any, node: Any = None, *, check_range: bool = False) -> Value:
        """Describe a tensor in plain data; `check_range`: look if it lies within [0, 1]."""

    def on_binary(self, key: SiteKey, sign: str, left: Any, right: Any) -> Any:
        """Evaluate `left + right`, or another operator, and note it when a tensor takes part."""
        operation = self.noted(self._operation, key, sign, left, right) or None
        result = OPERATORS[sign](left, right)
        self.noted(self._note_operation, key, operation, result)
        return result

    def on_operand(self, key: SiteKey, sign: str, target: object, value: object) -> object:
        """Keep the operands of `target += value`, which may change the target; return `value`."""
        self._pending[key] = self.noted(self._operation, key, sign, target, value) or None
        return value

    def on_done(self, key: SiteKey, target: object) -> None:
        """Note the result of `target += value`."""
        self.noted(self._note_operation, key, self._pending.pop(key, None), target)

    def _operation(self, key: SiteKey, sign: str, *sides: object) -> _Operation | None:
        """Describe operands before the call, which may change them; None when it is not noted."""
        if not self.is_watching:
            return None
        tensors = {str(place): item for place, item in enumerate(sides) if self.is_tensor(item)}
        if not tensors:
            return None
        numbers: Mapping[str, float] = {}
        if len(tensors) < len(sides):
            numbers = self._note_mixed(key, sides)
            if not numbers or sign[0] not in "*/":
                return None
        before = {name: (item, self.node(item)) for name, item in tensors.items()}
        is_product = sign[0] == "*" and len(tensors) == len(sides)
        return sign, before, self._values(before, check_range=is_product), numbers

    def _note_mixed(self, key: SiteKey, sides: Sequence[object]) -> dict[str, float]:
        """Note which operands are no tensors: `x + skip` where skip starts as 0; the numbers."""
        arguments = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR)).arguments
        others = {str(place): item for place, item in enumerate(sides) if not self.is_tensor(item)}
        arguments.update({f"mixed {place}": True for place in others})
        return {place: float(item) for place, item in others.items() if isinstance(item, Real)}

    def _note_operation(self, key: SiteKey, operation: _Operation | None, result: object) -> None:
        if operation is None:
            return
        sign, before, values, numbers = operation
        notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR))
        if notes.outputs and set(notes.operands) < set(before):  # a number stood there at first
            notes = self.sites[key] = Notes(callee=notes.callee, arguments=notes.arguments)
        elif notes.outputs and set(notes.operands) != set(before):
            return
        for place, number in numbers.items():
            if notes.arguments.get(place, 1.0) == 1.0:  # the first that does anything
                notes.arguments[place] = number
        notes.name = sign
        self.note_values(notes, before, result, values=values)
        notes.calls[self.phase] += 1

    def on_attribute(self, key: SiteKey, owner: object, name: str) -> Any:
        """Evaluate `owner.name`; note attributes of modules that an identity lacks."""
        result = getattr(owner, name)
        if isinstance(owner, self._module_class):
            self.noted(self.note_touched, key, owner, name)
        return result

    def on_item(self, key: SiteKey, owner: Any, index: object) -> Any:
        """Evaluate `owner[index]`; note modules that are indexed, which an identity cannot be."""
        if isinstance(owner, self._module_class):
            self.noted(self.note_touched, key, owner, "__getitem__")
        return owner[index]

    def on_module(
        self,
        module: Any,
        original: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> Any:
        """Call a module and note its operands and results."""
        notes = self.module_notes(module)
        notes.calls[self.phase] += 1
        before = self.noted(self.operands, None, args, kwargs)
        named = [name for name in kwargs if name not in self.modes]
        notes.extra.update(dict.fromkeys([*map(str, range(1, len(args))), *named]))
        only = self.noted(self._only_input, notes, before)
        self.running.add(id(module))
        try:
            call = partial(original, module, *args, **kwargs)
            result, seen = self.run_module(module, before, call)
        finally:
            self.running.discard(id(module))
        if not only or result is not only[0] or not self.noted(self.is_equal, result, only[1]):
            notes.passes_input = False
        self.noted(self.note_values, notes, before, result, seen=seen)
        for tensor in self.noted(tensors_in, result, self.is_tensor):
            self.makers[id(tensor)] = id(module)
        return result

    def _only_input(self, notes: ModuleNotes, before: Operands) -> tuple[Any, Any] | None:
        """The one tensor that a module is given and a copy, while it may be an identity."""
        if not notes.passes_input or len(before) != 1:
            return None
        [(tensor, _)] = before.values()
        copy = self.copied(tensor)
        return None if copy is None else (tensor, copy)

    def run_module(
        self, module: Any, before: Operands, call: Callable[[], Any]
    ) -> tuple[Any, Iterable[Any]]:
        """Call a module; its result, and further nodes that this may depend on."""
        return call(), ()

    @property
    def is_watching(self) -> bool:
        """Whether one of the two forwards is under way."""
        return self.phase is not Phase.OTHER

    def module_notes(self, module: Any) -> ModuleNotes:
        """Return the notes of a module; the first time, the clock advances."""
        notes = self.modules.get(id(module))
        if notes is None:
            self.clock += 1
            notes = ModuleNotes(module=module, first_seen=self.clock)
            self.modules[id(module)] = notes
        return notes

    def note_touched(self, key: SiteKey, owner: object, name: str) -> None:
        """Note an attribute of a module that an identity lacks."""
        if name not in self._attributes and not self.is_guarded(*key):
            self.module_notes(owner).touched.setdefault(name)

    def note_values(
        self,
        notes: Notes,
        before: Operands,
        result: object,
        *,
        seen: Iterable[Any] = (),
        values: Mapping[str, Value] | None = None,
    ) -> None:
        """Note shapes and nodes of operands and outputs, and those of the first call in full.

        Args:
            notes: The notes of the site or module.
            before: Operand -> (tensor, node).
            result: The return value.
            seen: Further nodes that the result may depend on.
            values: The operands in plain data, where they were described before the call.
        """
        outputs = tensors_in(result, self.is_tensor)
        if self._notes_only_shapes:
            self._note_shapes(notes, before, outputs)
            return
        if len(notes.signatures) < _MAX_SIGNATURES:
            given = tuple(tuple(value.shape) for value, _ in before.values())
            notes.signatures.setdefault((given, tuple(tuple(value.shape) for value in outputs)))
        items = result if type(result) is tuple else ()
        n_leading = len(list(takewhile(self.is_tensor, items)))
        notes.n_leading = min(n_leading, notes.n_leading) if notes.outputs else n_leading
        if not notes.outputs:
            notes.operands = self._values(before) if values is None else values
            notes.outputs = tuple(map(self.value, outputs))
            notes.is_tensor = self.is_tensor(result)
        elif values is not None and any(value.in_unit for value in notes.operands.values()):
            notes.operands = in_unit_everywhere(notes.operands, values)
        if self.phase is Phase.TRAIN:
            self.keep += [outputs, before]
            made = self.nodes_of(outputs, before, seen)
            notes.nodes.append((made, {name: node for name, (_, node) in before.items()}))

    def _note_shapes(self, notes: Notes, before: Operands, outputs: Sequence[Any]) -> None:
        calls = notes.shapes.setdefault(self.phase, [])
        if len(calls) < _MAX_CALLS:
            shapes = {name: tuple(tensor.shape) for name, (tensor, _) in before.items()}
            shapes |= {f"-> {place}": tuple(item.shape) for place, item in enumerate(outputs)}
            calls.append(shapes)

    @property
    def _notes_only_shapes(self) -> bool:
        """Whether a further forward is under way, in which values do not matter."""
        return self.phase in (Phase.WHOLE, Phase.PART)

    def _values(self, before: Operands, *, check_range: bool = False) -> dict[str, Value]:
        if self._notes_only_shapes:  # to describe a tensor reads all of it
            return {}
        return {
            name: self.value(tensor, node, check_range=check_range)
            for name, (tensor, node) in before.items()
        }


def in_unit_everywhere(first: Mapping[str, Value], later: Mapping[str, Value]) -> dict[str, Value]:
    """Return the operands of the first call; within [0, 1] only where those of a later one are."""
    return {
        name: replace(value, in_unit=value.in_unit and name in later and later[name].in_unit)
        for name, value in first.items()
    }
