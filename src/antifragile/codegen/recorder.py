"""Takes notes while the instrumented model runs: values, modules, autograd nodes.

One recorder lives for one trace. It keeps every object it has seen alive: `id` stays a name.
Module calls are seen by wrapping `nn.Module.__call__`, which also catches children that a library
container calls; module construction is seen at the call sites that return a new module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from torch import Tensor, nn

from antifragile.codegen.gradients import Node, node_of
from antifragile.codegen.plain import is_plain as is_plain
from antifragile.codegen.plain import plain as plain
from antifragile.codegen.syntax import SiteKey
from antifragile.codegen.trace import Callee, Value
from antifragile.codegen.values import (
    FUNCTION_NAMES,
    is_bounded,
    is_library_function,
    tensors_in,
)

_MAX_SIGNATURES = 64
_MODULE_ATTRIBUTES = frozenset(dir(nn.Identity()))


class Phase(StrEnum):
    """Which part of the run is under way."""

    OTHER = "other"
    TRAIN = "train"
    EVAL = "eval"


@dataclass
class Notes:
    """What was seen at one site or in one module."""

    calls: dict[Phase, int] = field(default_factory=lambda: dict.fromkeys(Phase, 0))
    operands: dict[str, Value] = field(default_factory=dict)
    outputs: tuple[Value, ...] = ()
    is_tensor: bool = False
    signatures: dict[Any, None] = field(default_factory=dict)
    nodes: list[tuple[list[Node], dict[str, Node | None]]] = field(default_factory=list)
    callee: Callee = Callee.OTHER
    name: str = ""
    modules: dict[int, None] = field(default_factory=dict)
    arguments: dict[str, object] = field(default_factory=dict)
    new_parameters: dict[int, None] = field(default_factory=dict)
    parameters: dict[str, None] = field(default_factory=dict)  # seen at an attribute


@dataclass
class ModuleNotes(Notes):
    """What was seen of one module object."""

    module: nn.Module | None = None
    built_at: list[SiteKey] = field(default_factory=list)
    returned_at: list[SiteKey] = field(default_factory=list)  # by calls that did not make it
    built_under: tuple[SiteKey, ...] = ()
    first_seen: int = 0
    used_at: dict[SiteKey, None] = field(default_factory=dict)
    touched: dict[str, None] = field(default_factory=dict)
    first_parameters: set[int] = field(default_factory=set)  # ids, when construction ended
    extra: dict[str, None] = field(default_factory=dict)  # arguments beside the first


class Recorder:
    """The notes of one trace."""

    def __init__(self, guarded: Callable[[SiteKey], bool]) -> None:
        self.guarded = guarded
        self.phase = Phase.OTHER
        self.sites: dict[SiteKey, Notes] = {}
        self.modules: dict[int, ModuleNotes] = {}
        self.stack: list[SiteKey] = []
        self.clock = 0
        self.keep: list[object] = []
        self.makers: dict[int, int] = {}  # id of a tensor -> id of the module that returned it
        self.bases: dict[Node, Node | None] = {}  # node of a view -> node of what it shows
        self.parameters: dict[int, str] = {}  # filled once the model is built

    def hooks(self, file: str) -> dict[str, object]:
        """Return the reporters of one file under the names the instrumented code uses."""

        def call(number: int, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            return self.on_call((file, number), function, args, kwargs)

        def binary(number: int, sign: str, left: Any, right: Any) -> Any:
            return self.on_binary((file, number), sign, left, right)

        def attribute(number: int, owner: Any, name: str) -> Any:
            return self.on_attribute((file, number), owner, name)

        def operand(number: int, sign: str, target: Any, value: Any) -> Any:
            self.on_operand((file, number), sign, target, value)
            return value

        def done(number: int, target: Any) -> None:
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
        original = nn.Module.__call__

        def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if self.phase is Phase.OTHER:
                return original(module, *args, **kwargs)
            return self.on_module(module, original, args, kwargs)

        nn.Module.__call__ = watched  # type: ignore[method-assign]  # put back below
        try:
            yield
        finally:
            nn.Module.__call__ = original  # type: ignore[method-assign]  # as it was

    def on_call(
        self, key: SiteKey, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Evaluate `function(*args, **kwargs)` and note it."""
        notes = self.sites.setdefault(key, Notes())
        notes.calls[self.phase] += 1
        before = self._operands(function, args, kwargs) if self._is_watching else {}
        owner = getattr(function, "__self__", None)
        if isinstance(owner, nn.Module):
            self._note_touched(key, owner, getattr(function, "__name__", ""))
        started = self.clock
        self.stack.append(key)
        try:
            result = function(*args, **kwargs)
        finally:
            self.stack.pop()
        if self._is_watching:
            self._note_callee(key, notes, function, args, kwargs)
            self._note_values(notes, before, result)
        if isinstance(result, nn.Module):
            self._note_built(key, result, started)
        elif isinstance(result, nn.Parameter) and not self._is_watching:
            notes.new_parameters[id(result)] = None
            self.keep.append(result)
        return result

    @property
    def _is_watching(self) -> bool:
        return self.phase is not Phase.OTHER

    def on_binary(self, key: SiteKey, sign: str, left: Any, right: Any) -> Any:
        """Evaluate `left + right` or `left * right` and note it when tensors are involved."""
        if not self._is_watching or not (isinstance(left, Tensor) and isinstance(right, Tensor)):
            self._note_mixed(key, left, right)
            return left + right if sign == "+" else left * right
        before = {"0": (left, self._node(left)), "1": (right, self._node(right))}
        result = left + right if sign == "+" else left * right
        notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR))
        notes.name = sign
        notes.calls[self.phase] += 1
        self._note_values(notes, before, result, is_product=sign == "*")
        return result

    def _note_mixed(self, key: SiteKey, *operands: Any) -> None:
        """Note operands that are sometimes no tensors: `x + skip` where skip starts as 0."""
        if self._is_watching and any(isinstance(item, Tensor) for item in operands):
            notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR))
            for place, item in enumerate(operands):
                if not isinstance(item, Tensor):
                    notes.arguments[f"mixed {place}"] = True

    def on_operand(self, key: SiteKey, sign: str, target: Any, value: Any) -> None:
        """Note the operands of `target += value` before it happens."""
        if not self._is_watching or not isinstance(target, Tensor) or not isinstance(value, Tensor):
            return
        notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR, name=sign))
        notes.calls[self.phase] += 1
        before = {"0": (target, self._node(target)), "1": (value, self._node(value))}
        self._note_values(notes, before, target, is_product=True)
        notes.arguments["pending"] = True

    def on_done(self, key: SiteKey, target: Any) -> None:
        """Note the result of `target += value`."""
        notes = self.sites.get(key)
        if notes is None or not notes.arguments.pop("pending", False):
            return
        if self.phase is Phase.TRAIN and notes.nodes:
            notes.nodes[-1] = ([self._node(target)], notes.nodes[-1][1])
        notes.outputs = notes.outputs or (self.value(target),)

    def on_attribute(self, key: SiteKey, owner: Any, name: str) -> Any:
        """Evaluate `owner.name`; note parameters that are used and attributes of modules."""
        result = getattr(owner, name)
        if isinstance(owner, nn.Module):
            self._note_touched(key, owner, name)
        if self._is_watching and isinstance(result, nn.Parameter):
            notes = self.sites.setdefault(key, Notes(callee=Callee.ATTRIBUTE, name=name))
            notes.calls[self.phase] += 1
            self._note_values(notes, {}, result)
            if id(result) in self.parameters:
                notes.parameters[self.parameters[id(result)]] = None
        return result

    def _note_touched(self, key: SiteKey, owner: nn.Module, name: str) -> None:
        if name not in _MODULE_ATTRIBUTES and not self.guarded(key):
            self.module_notes(owner).touched.setdefault(name)

    def on_module(
        self, module: nn.Module, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a module and note what went in and came out."""
        notes = self.module_notes(module)
        notes.calls[self.phase] += 1
        before = self._operands(None, args, kwargs)
        notes.extra.update(dict.fromkeys([*map(str, range(1, len(args))), *kwargs]))
        result = original(module, *args, **kwargs)
        self._note_values(notes, before, result)
        for tensor in tensors_in(result):
            self.makers[id(tensor)] = id(module)
        return result

    def _node(self, tensor: Tensor) -> Node | None:
        return node_of(tensor) if self.phase is Phase.TRAIN else None

    def module_notes(self, module: nn.Module) -> ModuleNotes:
        """Return the notes of a module; its arrival advances the clock."""
        notes = self.modules.get(id(module))
        if notes is None:
            self.clock += 1
            notes = ModuleNotes(module=module, first_seen=self.clock)
            self.modules[id(module)] = notes
        return notes

    def _note_built(self, key: SiteKey, module: nn.Module, started: int) -> None:
        is_known = id(module) in self.modules
        notes = self.module_notes(module)
        if not is_known:
            notes.built_under = tuple(self.stack)
        if self._is_watching:
            return
        if notes.first_seen <= started:
            notes.returned_at.append(key)
        else:
            notes.built_at.append(key)
        if notes.built_at:
            notes.first_parameters = {id(parameter) for parameter in module.parameters()}
            self.keep += list(module.parameters())

    def _operands(
        self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> dict[str, tuple[Tensor, Node | None]]:
        found: dict[str, tuple[Tensor, Node | None]] = {}
        owner = getattr(function, "__self__", None)
        if isinstance(owner, Tensor):
            found["self"] = (owner, self._node(owner))
        for name, value in [
            *((str(place), value) for place, value in enumerate(args)),
            *kwargs.items(),
        ]:
            if isinstance(value, Tensor):
                found[name] = (value, self._node(value))
            elif isinstance(value, list | tuple):
                for place, item in enumerate(value[:64]):
                    if isinstance(item, Tensor):
                        found[f"{name}.{place}"] = (item, self._node(item))
        return found

    def _note_callee(
        self, key: SiteKey, notes: Notes, function: Any, args: tuple[Any, ...], kwargs: Any
    ) -> None:
        owner = getattr(function, "__self__", None)
        if isinstance(function, nn.Module) or (
            isinstance(owner, nn.Module) and getattr(function, "__name__", "") == "forward"
        ):
            module = function if isinstance(function, nn.Module) else owner
            assert isinstance(module, nn.Module)
            notes.callee = Callee.MODULE
            notes.modules[id(module)] = None
            self.module_notes(module).used_at[key] = None
        elif isinstance(owner, Tensor):
            notes.callee, notes.name = Callee.METHOD, str(getattr(function, "__name__", ""))
        elif id(function) in FUNCTION_NAMES or is_library_function(function):
            notes.callee = Callee.FUNCTION
            notes.name = FUNCTION_NAMES.get(id(function), getattr(function, "__name__", ""))
        else:
            notes.name = str(getattr(function, "__name__", ""))
        if not notes.arguments:
            named = [*((str(place), value) for place, value in enumerate(args)), *kwargs.items()]
            notes.arguments.update({name: plain(value) for name, value in named if is_plain(value)})

    def _note_values(
        self,
        notes: Notes,
        before: Mapping[str, tuple[Tensor, Node | None]],
        result: Any,
        *,
        is_product: bool = False,
    ) -> None:
        outputs = list(tensors_in(result))
        shapes = (
            tuple(tuple(value.shape) for value, _ in before.values()),
            tuple(tuple(value.shape) for value in outputs),
        )
        if len(notes.signatures) < _MAX_SIGNATURES:
            notes.signatures.setdefault(shapes)
        if not notes.outputs:
            notes.operands = {
                name: self.value(value, node, check_bounds=is_product)
                for name, (value, node) in before.items()
            }
            notes.outputs = tuple(map(self.value, outputs))
            notes.is_tensor = isinstance(result, Tensor)
        if self.phase is Phase.TRAIN:
            self.keep += [outputs, before]
            nodes = {name: node for name, (_, node) in before.items()}
            made = [node for node in map(node_of, outputs) if node is not None]
            self._note_bases(outputs)
            notes.nodes.append((made, nodes))

    def _note_bases(self, outputs: list[Tensor]) -> None:
        """Note what views show: a later write in place gives the view another node."""
        for tensor in outputs:
            if tensor._base is not None and tensor.grad_fn is not None:
                self.bases[tensor.grad_fn] = node_of(tensor._base)

    def value(
        self, tensor: Tensor, node: Node | None = None, *, check_bounds: bool = False
    ) -> Value:
        """Describe a tensor in plain data."""
        node = node if node is not None else tensor.grad_fn
        return Value(
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype),
            parameter=self.parameters.get(id(tensor)),
            producer=type(node).__name__ if node is not None else "",
            made_by=self.makers.get(id(tensor)),
            bounded=check_bounds and is_bounded(tensor),
        )
