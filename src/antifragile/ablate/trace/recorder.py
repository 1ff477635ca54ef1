"""The recorder that takes notes while the instrumented model runs: the part all frameworks share.

One recorder lives for one trace. It keeps every object it has seen alive, so that an `id` stands
for one object. Module calls are seen by wrapping the module class's `__call__`, which also catches
children that a library container calls; module construction is seen at the call sites that return
a new module. A framework's own recorder says what its tensors, nodes and modules are.
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from antifragile.ablate.records import SiteKey
from antifragile.ablate.sandbox.loading import stage
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.instrument import ReportingFinder
from antifragile.ablate.trace.nested import Named, tensors_in
from antifragile.ablate.trace.notes import ModuleNotes, Notes, Operands, Phase
from antifragile.ablate.trace.plain import named, plain_arguments
from antifragile.ablate.trace.records import Callee, Value

_MAX_SIGNATURES = 64

_Operation = tuple[str, Operands, Mapping[str, Value]]  # sign, operands, these in plain data


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
        self.makers: dict[int, int] = {}  # id of a tensor -> id of the module that returned it
        self._pending: dict[SiteKey, _Operation] = {}  # each `+=` that is under way

    def hooks(self) -> dict[str, object]:
        """Return the reporters under the names the instrumented code uses."""
        return {
            "__af_call__": self.on_call,
            "__af_binary__": self.on_binary,
            "__af_attribute__": self.on_attribute,
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

        def watched(module: Any, *args: object, **kwargs: object) -> Any:
            if self.phase is Phase.OTHER:
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
        with stage(f"the forward pass in {words} mode"):
            yield
        self.phase = Phase.OTHER

    def on_call(
        self, key: SiteKey, function: Callable[..., Any], /, *args: object, **kwargs: object
    ) -> Any:
        """Evaluate `function(*args, **kwargs)` and note it."""
        notes = self.sites.setdefault(key, Notes())
        notes.calls[self.phase] += 1
        before = self.operands(function, args, kwargs) if self.is_watching else {}
        self.note_method(key, function)
        started = self.clock
        self.stack.append(key)
        try:
            result = function(*args, **kwargs)
        finally:
            self.stack.pop()
        self.note_callee(key, notes, function)
        if self.is_watching:
            if not notes.arguments:
                notes.arguments.update(plain_arguments(args, kwargs))
            self.note_values(notes, before, result, seen=self.seen_by(notes, before))
        self.note_made(key, result, started)
        return result

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
    def value(self, tensor: Any, node: Any = None, *, check_bounds: bool = False) -> Value:
        """Describe a tensor in plain data; `check_bounds`: look if it lies within [-1, 1]."""

    def on_binary(self, key: SiteKey, sign: str, left: Any, right: Any) -> Any:
        """Evaluate `left + right` or `left * right` and note it when both are tensors."""
        is_seen = self.is_watching and self.is_tensor(left) and self.is_tensor(right)
        if is_seen:
            operation = self._operation(sign, left, right)
        else:
            self.note_mixed(key, left, right)
        result = left + right if sign == "+" else left * right
        if is_seen:
            self._note_operation(key, operation, result)
        return result

    @abstractmethod
    def note_mixed(self, key: SiteKey, *operands: object) -> None:
        """Note operands of which some are no tensors."""

    def on_operand(self, key: SiteKey, sign: str, target: object, value: object) -> object:
        """Keep the operands of `target += value`, which may change the target; return `value`."""
        if self.is_watching and self.is_tensor(target) and self.is_tensor(value):
            self._pending[key] = self._operation(sign, target, value)
        return value

    def on_done(self, key: SiteKey, target: object) -> None:
        """Note the result of `target += value`."""
        if key in self._pending:
            self._note_operation(key, self._pending.pop(key), target)

    def _operation(self, sign: str, left: object, right: object) -> _Operation:
        before = {"0": (left, self.node(left)), "1": (right, self.node(right))}
        return sign, before, self._values(before, check_bounds=sign != "+")

    def _note_operation(self, key: SiteKey, operation: _Operation, result: object) -> None:
        sign, before, values = operation
        notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR))
        notes.name = sign
        notes.calls[self.phase] += 1
        self.note_values(notes, before, result, values=values)

    def on_attribute(self, key: SiteKey, owner: object, name: str) -> Any:
        """Evaluate `owner.name`; note attributes of modules that an identity lacks."""
        result = getattr(owner, name)
        if isinstance(owner, self._module_class):
            self.note_touched(key, owner, name)
        return result

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
        before = self.operands(None, args, kwargs)
        named = [name for name in kwargs if name not in self.modes]
        notes.extra.update(dict.fromkeys([*map(str, range(1, len(args))), *named]))
        tensors = [tensor for tensor, _ in before.values()]
        given = self.copied(tensors[0]) if notes.passes_input and len(tensors) == 1 else None
        result, seen = self.run_module(module, before, partial(original, module, *args, **kwargs))
        if given is None or result is not tensors[0] or not self.is_equal(result, given):
            notes.passes_input = False
        self.note_values(notes, before, result, seen=seen)
        for tensor in tensors_in(result, self.is_tensor):
            self.makers[id(tensor)] = id(module)
        return result

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
        if len(notes.signatures) < _MAX_SIGNATURES:
            given = tuple(tuple(value.shape) for value, _ in before.values())
            notes.signatures.setdefault((given, tuple(tuple(value.shape) for value in outputs)))
        if not notes.outputs:
            notes.operands = self._values(before) if values is None else values
            notes.outputs = tuple(map(self.value, outputs))
            notes.is_tensor = self.is_tensor(result)
        if self.phase is Phase.TRAIN:
            self.keep += [outputs, before]
            made = self.nodes_of(outputs, before, seen)
            notes.nodes.append((made, {name: node for name, (_, node) in before.items()}))

    def _values(self, before: Operands, *, check_bounds: bool = False) -> dict[str, Value]:
        return {
            name: self.value(tensor, node, check_bounds=check_bounds)
            for name, (tensor, node) in before.items()
        }
