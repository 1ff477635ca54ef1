"""The recorder that takes notes while the instrumented model runs: the part all frameworks share.

One recorder lives for one trace. It keeps every object it has seen alive, so that an `id` stands
for one object. Module calls are seen by wrapping the module class's `__call__`, which also catches
children that a library container calls; module construction is seen at the call sites that return
a new module. A framework's own recorder says what its tensors, nodes and modules are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from antifragile.ablate.records import SiteKey
from antifragile.ablate.trace.nested import tensors_in
from antifragile.ablate.trace.notes import ModuleNotes, Notes, Operands, Phase
from antifragile.ablate.trace.plain import plain_arguments
from antifragile.ablate.trace.records import Callee, Value

_MAX_SIGNATURES = 64


class Recorder(ABC):
    """The notes of one trace.

    Args:
        module_class: The framework's class of modules.
        attributes: Attributes of a module that does nothing; reads of others are noted.
        guarded: Whether a read at a site does not count: by the object itself, or behind a
            check of its class.
    """

    def __init__(
        self, module_class: Any, attributes: frozenset[str], guarded: Callable[[SiteKey], bool]
    ) -> None:
        self._module_class = module_class
        self._attributes = attributes
        self._guarded = guarded
        self.phase = Phase.OTHER
        self.sites: dict[SiteKey, Notes] = {}
        self.modules: dict[int, ModuleNotes] = {}
        self.stack: list[SiteKey] = []
        self.clock = 0
        self.keep: list[object] = []
        self.makers: dict[int, int] = {}  # id of a tensor -> id of the module that returned it

    def hooks(self, file: str) -> dict[str, object]:
        """Return the reporters of one file under the names the instrumented code uses."""

        def call(
            number: int, function: Callable[..., Any], /, *args: object, **kwargs: object
        ) -> Any:
            return self.on_call((file, number), function, args, kwargs)

        def binary(number: int, sign: str, left: Any, right: Any) -> Any:
            return self.on_binary((file, number), sign, left, right)

        def attribute(number: int, owner: object, name: str) -> Any:
            return self.on_attribute((file, number), owner, name)

        def operand(number: int, sign: str, target: object, value: object) -> Any:
            self.on_operand((file, number), sign, target, value)
            return value

        def done(number: int, target: object) -> None:
            self.on_done((file, number), target)

        return {
            "__af_call__": call,
            "__af_binary__": binary,
            "__af_attribute__": attribute,
            "__af_operand__": operand,
            "__af_done__": done,
        }

    @contextmanager
    def watching_modules(self) -> Iterator[None]:
        """Note every call of every module, also those that libraries make."""
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

    def on_call(
        self,
        key: SiteKey,
        function: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
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
        if self.is_watching:
            if not notes.arguments:
                notes.arguments.update(plain_arguments(args, kwargs))
            self.note_call(key, notes, function, before, result)
        self.note_made(key, notes, function, result, started)
        return result

    @abstractmethod
    def operands(
        self, function: object, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Operands:
        """The tensors among the arguments: name -> (tensor, node)."""

    @abstractmethod
    def note_method(self, key: SiteKey, function: Callable[..., Any]) -> None:
        """Note the function that is to be called where it belongs to a module."""

    @abstractmethod
    def note_call(
        self,
        key: SiteKey,
        notes: Notes,
        function: Callable[..., Any],
        before: Operands,
        result: object,
    ) -> None:
        """Note the kind of function that was called in a forward, and its result."""

    @abstractmethod
    def note_made(
        self, key: SiteKey, notes: Notes, function: Callable[..., Any], result: object, started: int
    ) -> None:
        """Note a module or a parameter that a call returned, in a forward or not."""

    @abstractmethod
    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of the framework."""

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
        """Describe a tensor in plain data."""

    def on_binary(self, key: SiteKey, sign: str, left: Any, right: Any) -> Any:
        """Evaluate `left + right` or `left * right` and note it when both are tensors."""
        is_seen = self.is_watching and self.is_tensor(left) and self.is_tensor(right)
        if not is_seen:
            self.note_mixed(key, left, right)
            return left + right if sign == "+" else left * right
        before = {"0": (left, self.node(left)), "1": (right, self.node(right))}
        result = left + right if sign == "+" else left * right
        notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR))
        notes.name = sign
        notes.calls[self.phase] += 1
        self.note_values(notes, before, result, check_bounds=sign == "*")
        return result

    @abstractmethod
    def note_mixed(self, key: SiteKey, *operands: object) -> None:
        """Note operands of which some are no tensors."""

    @abstractmethod
    def on_operand(self, key: SiteKey, sign: str, target: object, value: object) -> None:
        """Note the operands of `target += value` before it happens."""

    @abstractmethod
    def on_done(self, key: SiteKey, target: Any) -> None:
        """Note the result of `target += value`."""

    @abstractmethod
    def on_attribute(self, key: SiteKey, owner: object, name: str) -> Any:
        """Evaluate `owner.name` and note uses of modules and parameters."""

    @abstractmethod
    def on_module(
        self,
        module: Any,
        original: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> Any:
        """Call a module and note its operands and results."""

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
        if name not in self._attributes and not self._guarded(key):
            self.module_notes(owner).touched.setdefault(name)

    def note_built(self, key: SiteKey, module: Any, started: int) -> ModuleNotes:
        """Note where a module was returned: as new, if it was first seen after the call started."""
        is_known = id(module) in self.modules
        notes = self.module_notes(module)
        if not is_known:
            notes.built_under = tuple(self.stack)
        if not self.is_watching:
            is_old = notes.first_seen <= started
            (notes.returned_at if is_old else notes.built_at).append(key)
        return notes

    def note_values(
        self,
        notes: Notes,
        before: Operands,
        result: object,
        *,
        seen: Iterable[Any] = (),
        check_bounds: bool = False,
    ) -> None:
        """Note shapes and nodes of operands and outputs, and those of the first call in full.

        Args:
            notes: The notes of the site or module.
            before: Operand -> (tensor, node).
            result: The return value.
            seen: Further nodes that the result may depend on.
            check_bounds: Whether to look if the operands lie within [-1, 1].
        """
        outputs = tensors_in(result, self.is_tensor)
        self._note_shapes(notes, before, outputs)
        if not notes.outputs:
            notes.operands = {
                name: self.value(value, node, check_bounds=check_bounds)
                for name, (value, node) in before.items()
            }
            notes.outputs = tuple(map(self.value, outputs))
            notes.is_tensor = self.is_tensor(result)
        if self.phase is Phase.TRAIN:
            self.keep += [outputs, before]
            made = self.nodes_of(outputs, before, seen)
            notes.nodes.append((made, {name: node for name, (_, node) in before.items()}))

    def _note_shapes(self, notes: Notes, before: Operands, outputs: Sequence[Any]) -> None:
        """Note the shapes of operands and outputs, each combination once."""
        shapes = (
            tuple(tuple(value.shape) for value, _ in before.values()),
            tuple(tuple(value.shape) for value in outputs),
        )
        if len(notes.signatures) < _MAX_SIGNATURES:
            notes.signatures.setdefault(shapes)
