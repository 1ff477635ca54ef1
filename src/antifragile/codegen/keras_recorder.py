"""Taking notes while a Keras model is built and run: layers, calls in `call`, sums and products.

Keras has no graph that looks alike on its back ends, so one is kept: a node per noted call, above
the nodes of its operands. A tensor that came from somewhere unseen (a slice, a function of the
back end) is taken to depend on all that the layer at work has seen so far: its inputs, its own
variables, what its calls returned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from antifragile.codegen.keras_model import keras, own_variables
from antifragile.codegen.nested import flatten
from antifragile.codegen.recorder import ModuleNotes, Notes, Phase, Recorder, is_plain, plain
from antifragile.codegen.syntax import SiteKey
from antifragile.codegen.trace import Callee, Value

_MAX_SIGNATURES = 64
_LIBRARIES = ("keras", "tensorflow", "torch")
_LAYER_ATTRIBUTES: frozenset[str] = frozenset()


class KerasRecorder(Recorder):
    """The notes of one trace of a Keras model."""

    def __init__(self) -> None:
        super().__init__(lambda key: False)
        self.successors: list[tuple[int, ...]] = []
        self.made: dict[int, int] = {}  # id of a tensor -> its node
        self.leaves: dict[int, int] = {}  # id of a variable -> its node
        self.inputs: list[int] = []
        self.starts: list[int] = []
        self.seen: list[list[int]] = [[]]  # nodes that each layer at work has seen, innermost last
        self.attributes = frozenset(dir(keras.layers.Identity()))

    @contextmanager
    def watching_modules(self) -> Iterator[None]:
        """Note every call of every layer, also those that Keras makes."""
        original = keras.Layer.__call__

        def watched(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if self.phase is Phase.OTHER:
                return original(layer, *args, **kwargs)
            return self.on_module(layer, original, args, kwargs)

        keras.Layer.__call__ = watched
        try:
            yield
        finally:
            keras.Layer.__call__ = original

    def new_node(self, below: Any) -> int:
        """Add a node; it depends on those below it."""
        self.successors.append(tuple(dict.fromkeys(below)))
        return len(self.successors) - 1

    def leaf(self, variable: Any) -> int:
        """The node of a variable."""
        if id(variable) not in self.leaves:
            self.leaves[id(variable)] = self.new_node(())
            self.keep.append(variable)
        return self.leaves[id(variable)]

    def node(self, tensor: Any) -> int | None:
        """The node of a tensor in the training forward; None for numbers that carry no gradient."""
        if self.phase is not Phase.TRAIN or not is_floating(tensor):
            return None
        if id(tensor) not in self.made:
            self.made[id(tensor)] = self.new_node(self.seen[-1])
            self.keep.append(tensor)
        node = self.made[id(tensor)]
        self.seen[-1].append(node)
        return node

    def on_call(
        self, key: SiteKey, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Evaluate `function(*args, **kwargs)` and note it."""
        notes = self.sites.setdefault(key, Notes())
        notes.calls[self.phase] += 1
        before = self.operands(args, kwargs) if self._is_watching else {}
        started = self.clock
        self.stack.append(key)
        try:
            result = function(*args, **kwargs)
        finally:
            self.stack.pop()
        if self._is_watching:
            self.note_callee(key, notes, function, args, kwargs)
            is_complete = notes.callee is Callee.FUNCTION and before
            self.note_values(notes, before, result, () if is_complete else self.seen[-1])
        if isinstance(function, keras.Layer):
            notes.callee, notes.modules[id(function)] = Callee.MODULE, None
            self.module_notes(function).used_at[key] = None
        if isinstance(result, keras.Layer):
            self._note_built(key, result, started)
        return result

    def on_binary(self, key: SiteKey, sign: str, left: Any, right: Any) -> Any:
        """Evaluate `left + right` or `left * right` and note it when tensors are involved."""
        result = left + right if sign == "+" else left * right
        if self._is_watching and keras.ops.is_tensor(left) and keras.ops.is_tensor(right):
            notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR, name=sign))
            notes.calls[self.phase] += 1
            before = {"0": (left, self.node(left)), "1": (right, self.node(right))}
            self.note_values(notes, before, result, ())
        return result

    def on_operand(self, key: SiteKey, sign: str, target: Any, value: Any) -> None:
        """`target += value` makes a new tensor in Keras: noted when it is done."""
        if self._is_watching and keras.ops.is_tensor(target) and keras.ops.is_tensor(value):
            notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR, name=sign))
            before = {"0": (target, self.node(target)), "1": (value, self.node(value))}
            notes.arguments["pending"] = before

    def on_done(self, key: SiteKey, target: Any) -> None:
        """Note the result of `target += value`."""
        notes = self.sites.get(key)
        pending: Any = notes.arguments.pop("pending", None) if notes is not None else None
        if notes is not None and pending is not None:
            notes.calls[self.phase] += 1
            self.note_values(notes, pending, target, ())

    def on_attribute(self, key: SiteKey, owner: Any, name: str) -> Any:
        """Evaluate `owner.name`; note attributes of layers that an identity lacks."""
        result = getattr(owner, name)
        is_own = self.source_says_self(key)
        if isinstance(owner, keras.Layer) and name not in self.attributes and not is_own:
            self.module_notes(owner).touched.setdefault(name)
        return result

    def source_says_self(self, key: SiteKey) -> bool:
        """Whether the attribute is read from `self`; filled by the adapter."""
        return self.guarded(key)

    def on_module(
        self, module: Any, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a layer and note what went in and came out."""
        notes = self.module_notes(module)
        notes.calls[self.phase] += 1
        before = self.operands(args, kwargs)
        given = [name for name in kwargs if name != "training"]
        notes.extra.update(dict.fromkeys([*map(str, range(1, len(args))), *given]))
        own = [self.leaf(variable) for _, variable, learns in own_variables(module) if learns]
        self.seen.append([*own, *(node for _, node in before.values() if node is not None)])
        result = original(module, *args, **kwargs)
        seen = self.seen.pop()
        late = [self.leaf(variable) for _, variable, learns in own_variables(module) if learns]
        takes_numbers = not any(is_floating(value) for value, _ in before.values())
        if takes_numbers and self.phase is Phase.TRAIN:
            self.inputs += late  # an embedding: the way in for what carries no gradient
        self.note_values(notes, before, result, [*seen, *late])
        for _, tensor in tensors_in(result):
            self.makers[id(tensor)] = id(module)
        return result

    def operands(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors among the arguments; the first of a list also stands for the whole list."""
        found: dict[str, Any] = {}
        named = [*((str(place), value) for place, value in enumerate(args)), *kwargs.items()]
        for name, value in named:
            if keras.ops.is_tensor(value):
                found[name] = (value, self.node(value))
            elif isinstance(value, list | tuple):
                inside = [item for item in value[:64] if keras.ops.is_tensor(item)]
                if inside:
                    found[name] = (inside[0], self.node(inside[0]))
                for place, item in enumerate(inside):
                    found[f"{name}.{place}"] = (item, self.node(item))
        return found

    def note_callee(
        self, key: SiteKey, notes: Notes, function: Any, args: tuple[Any, ...], kwargs: Any
    ) -> None:
        """Note what kind of thing was called."""
        origin = str(getattr(function, "__module__", "") or "").split(".")[0]
        notes.name = str(getattr(function, "__name__", ""))
        if origin in _LIBRARIES:
            notes.callee = Callee.FUNCTION
        if not notes.arguments:
            named = [*((str(place), value) for place, value in enumerate(args)), *kwargs.items()]
            notes.arguments.update({name: plain(value) for name, value in named if is_plain(value)})

    def note_values(self, notes: Notes, before: Mapping[str, Any], result: Any, seen: Any) -> None:
        """Note shapes, and the nodes of a result: known ones, or a new one above the operands.

        Args:
            notes: Of the place.
            before: Operand -> (tensor, node).
            result: What came out.
            seen: Further nodes that the result may depend on.
        """
        outputs = [tensor for _, tensor in tensors_in(result)]
        shapes = (
            tuple(tuple(value.shape) for value, _ in before.values()),
            tuple(tuple(value.shape) for value in outputs),
        )
        if len(notes.signatures) < _MAX_SIGNATURES:
            notes.signatures.setdefault(shapes)
        if not notes.outputs:
            notes.operands = {name: self.value(value) for name, (value, _) in before.items()}
            notes.outputs = tuple(map(self.value, outputs))
            notes.is_tensor = keras.ops.is_tensor(result)
        if self.phase is Phase.TRAIN:
            self.keep += [outputs, before]
            below = [node for _, node in before.values() if node is not None]
            nodes = []
            for tensor in outputs:
                if is_floating(tensor) and id(tensor) not in self.made:
                    self.made[id(tensor)] = self.new_node([*below, *seen])
                node = self.node(tensor)
                nodes += [] if node is None else [node]
            notes.nodes.append((nodes, {name: node for name, (_, node) in before.items()}))

    def value(self, tensor: Any, node: Any = None, *, check_bounds: bool = False) -> Value:
        """Describe a tensor in plain data."""
        return Value(
            shape=tuple(int(size) for size in tensor.shape),
            dtype=str(keras.backend.standardize_dtype(tensor.dtype)),
            made_by=self.makers.get(id(tensor)),
        )

    def module_notes(self, module: Any) -> ModuleNotes:
        """Return the notes of a layer; its arrival advances the clock."""
        notes = self.modules.get(id(module))
        if notes is None:
            self.clock += 1
            notes = ModuleNotes(module=module, first_seen=self.clock)
            self.modules[id(module)] = notes
        return notes

    def _note_built(self, key: SiteKey, module: Any, started: int) -> None:
        is_known = id(module) in self.modules
        notes = self.module_notes(module)
        if not is_known:
            notes.built_under = tuple(self.stack)
        if self._is_watching:
            return
        (notes.returned_at if notes.first_seen <= started else notes.built_at).append(key)


def is_floating(tensor: Any) -> bool:
    """Whether a tensor holds real numbers."""
    return "float" in str(keras.backend.standardize_dtype(tensor.dtype))


def tensors_in(value: Any) -> list[tuple[str, Any]]:
    """The tensors in a nested value, by path."""
    return [
        (path, item)
        for path, item in flatten("", value, keras.ops.is_tensor)
        if keras.ops.is_tensor(item)
    ]
