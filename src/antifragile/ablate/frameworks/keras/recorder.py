"""Recorder of a Keras model: layers, calls in `call`, sums and products.

The back ends of Keras share no gradient graph, so the recorder keeps one: a node per noted call,
above the nodes of its operands. A tensor of unseen origin (a slice, a function of the back end) is
taken to depend on all that the active layer has seen so far: its inputs, its own variables, the
results of its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from antifragile.ablate.frameworks.keras.layers import keras, own_variables
from antifragile.ablate.records import SiteKey
from antifragile.ablate.trace.nested import tensors_in
from antifragile.ablate.trace.notes import Notes, Operands, Phase
from antifragile.ablate.trace.plain import named
from antifragile.ablate.trace.recorder import Recorder
from antifragile.ablate.trace.records import Callee, Value

_LIBRARIES = ("keras", "tensorflow", "torch")


class KerasRecorder(Recorder):
    """The notes of one trace of a Keras model."""

    def __init__(self, guarded: Callable[[SiteKey], bool]) -> None:
        super().__init__(keras.Layer, frozenset(dir(keras.layers.Identity())), guarded)
        self.successors: list[tuple[int, ...]] = []
        self.made: dict[int, int] = {}  # id of a tensor -> its node
        self.leaves: dict[int, int] = {}  # id of a variable -> its node
        self.inputs: list[int] = []
        self.starts: list[int] = []
        self.seen: list[list[int]] = [[]]  # nodes that each active layer has seen, innermost last

    def new_node(self, below: Iterable[int]) -> int:
        """Add a node; it depends on those below it."""
        self.successors.append(tuple(dict.fromkeys(below)))
        return len(self.successors) - 1

    def leaf(self, variable: Any) -> int:
        """The node of a variable."""
        if id(variable) not in self.leaves:
            self.leaves[id(variable)] = self.new_node(())
            self.keep.append(variable)
        return self.leaves[id(variable)]

    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of Keras's back end, or a symbol of one."""
        return bool(keras.ops.is_tensor(value))

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

    def note_method(self, key: SiteKey, function: Callable[..., Any]) -> None:
        """Do nothing: methods of layers are noted where they are read."""

    def note_mixed(self, key: SiteKey, *operands: object) -> None:
        """Do nothing: a sum with something else than a tensor is no component."""

    def note_call(
        self,
        key: SiteKey,
        notes: Notes,
        function: Callable[..., Any],
        before: Operands,
        result: object,
    ) -> None:
        """Note the kind of function that was called in a forward, and its result."""
        notes.name = str(getattr(function, "__name__", ""))
        if str(getattr(function, "__module__", "") or "").split(".")[0] in _LIBRARIES:
            notes.callee = Callee.FUNCTION
        is_complete = notes.callee is Callee.FUNCTION and before
        self.note_values(notes, before, result, seen=() if is_complete else self.seen[-1])

    def note_made(
        self, key: SiteKey, notes: Notes, function: Callable[..., Any], result: object, started: int
    ) -> None:
        """Note the layer that was called, and one that a call returned."""
        if isinstance(function, keras.Layer):
            notes.callee, notes.modules[id(function)] = Callee.MODULE, None
            self.module_notes(function).used_at[key] = None
        if isinstance(result, keras.Layer):
            self.note_built(key, result, started)

    def on_operand(self, key: SiteKey, sign: str, target: object, value: object) -> None:
        """Keep the operands of `target += value` until it is done: it makes a new tensor."""
        if self.is_watching and self.is_tensor(target) and self.is_tensor(value):
            notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR, name=sign))
            before = {"0": (target, self.node(target)), "1": (value, self.node(value))}
            notes.arguments["pending"] = before

    def on_done(self, key: SiteKey, target: Any) -> None:
        """Note the result of `target += value`."""
        notes = self.sites.get(key)
        pending: Any = notes.arguments.pop("pending", None) if notes is not None else None
        if notes is not None and pending is not None:
            notes.calls[self.phase] += 1
            self.note_values(notes, pending, target)

    def on_attribute(self, key: SiteKey, owner: object, name: str) -> Any:
        """Evaluate `owner.name`; note attributes of layers that an identity lacks."""
        result = getattr(owner, name)
        if isinstance(owner, keras.Layer):
            self.note_touched(key, owner, name)
        return result

    def on_module(
        self,
        module: Any,
        original: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> Any:
        """Call a layer and note its operands and results."""
        notes = self.module_notes(module)
        notes.calls[self.phase] += 1
        before = self.operands(None, args, kwargs)
        given = [name for name in kwargs if name != "training"]
        notes.extra.update(dict.fromkeys([*map(str, range(1, len(args))), *given]))
        own = [self.leaf(variable) for _, variable, learns in own_variables(module) if learns]
        self.seen.append([*own, *(node for _, node in before.values() if node is not None)])
        result = original(module, *args, **kwargs)
        seen = self.seen.pop()
        late = [self.leaf(variable) for _, variable, learns in own_variables(module) if learns]
        takes_numbers = not any(is_floating(value) for value, _ in before.values())
        if takes_numbers and self.phase is Phase.TRAIN:
            self.inputs += late  # an embedding: the origin for inputs that carry no gradient
        self.note_values(notes, before, result, seen=[*seen, *late])
        for tensor in tensors_in(result, self.is_tensor):
            self.makers[id(tensor)] = id(module)
        return result

    def operands(
        self, function: object, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Operands:
        """Tensors among the arguments; the first of a list also stands for the whole list."""
        found: dict[str, Any] = {}
        for name, value in named(args, kwargs):
            if self.is_tensor(value):
                found[name] = (value, self.node(value))
            elif isinstance(value, list | tuple):
                inside = [item for item in value[:64] if self.is_tensor(item)]
                if inside:
                    found[name] = (inside[0], self.node(inside[0]))
                for place, item in enumerate(inside):
                    found[f"{name}.{place}"] = (item, self.node(item))
        return found

    def nodes_of(self, outputs: Sequence[Any], before: Operands, seen: Iterable[Any]) -> list[int]:
        """The nodes of a call's outputs: known ones, or new ones above the operands."""
        below = [node for _, node in before.values() if node is not None]
        nodes = []
        for tensor in outputs:
            if is_floating(tensor) and id(tensor) not in self.made:
                self.made[id(tensor)] = self.new_node([*below, *seen])
            node = self.node(tensor)
            nodes += [] if node is None else [node]
        return nodes

    def value(self, tensor: Any, node: Any = None, *, check_bounds: bool = False) -> Value:
        """Describe a tensor in plain data."""
        return Value(
            shape=tuple(int(size) for size in tensor.shape),
            dtype=str(keras.backend.standardize_dtype(tensor.dtype)),
            made_by=self.makers.get(id(tensor)),
        )


def is_floating(tensor: Any) -> bool:
    """Whether a tensor holds real numbers."""
    return "float" in str(keras.backend.standardize_dtype(tensor.dtype))
