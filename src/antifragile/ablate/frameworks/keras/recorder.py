"""Recorder of a Keras model: layers, calls in `call`, sums and products.

The back ends of Keras share no gradient graph, so the recorder keeps one: a node per noted call,
above the nodes of its operands. A tensor of unseen origin (a slice, a function of the back end) is
taken to depend on all that the active layer has seen so far: its inputs, its own variables, the
results of its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from antifragile.ablate.frameworks.keras.graph import GraphRecorder
from antifragile.ablate.frameworks.keras.layers import (
    is_floating,
    keras,
    own_variables,
    type_of,
    variables_by_path,
)
from antifragile.ablate.records import SiteKey
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.nested import Named
from antifragile.ablate.trace.notes import Notes, Operands, Phase
from antifragile.ablate.trace.records import Callee, Value

_LIBRARIES = ("keras", "tensorflow", "torch")
MERGES = {  # layers that do what a function or an operator does
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Concatenate": "concatenate",
}


class KerasRecorder(GraphRecorder):
    """The notes of one trace of a Keras model."""

    modes = ("training",)

    def __init__(self, sources: Mapping[str, SourceFile]) -> None:
        super().__init__(keras.Layer, frozenset(dir(keras.layers.Identity())), sources)
        self.successors: list[tuple[int, ...]] = []
        self.made: dict[int, int] = {}  # id of a tensor -> its node
        self.leaves: dict[int, int] = {}  # id of a variable -> its node
        self.inputs: list[int] = []
        self.starts: list[int] = []
        self.parameter_names: dict[int, str] = {}  # by the id of the variable
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

    def array(self, tensor: Any) -> Any:
        """A tensor's values as an array, real numbers in double precision."""
        wide = keras.ops.cast(tensor, "float32") if type_of(tensor) == "bfloat16" else tensor
        array = np.asarray(keras.ops.convert_to_numpy(wide))
        return array.astype(np.float64) if array.dtype.kind == "f" else array

    def copied(self, tensor: Any) -> Any:
        """A copy of a tensor's values; symbols have none."""
        return None if isinstance(tensor, keras.KerasTensor) else keras.ops.copy(tensor)

    def is_equal(self, one: Any, other: Any) -> bool:
        """Whether two tensors hold the same values."""
        return bool(keras.ops.all(keras.ops.equal(one, other)))

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

    def on_attribute(self, key: SiteKey, owner: object, name: str) -> Any:
        """Evaluate `owner.name`; note variables of the model that a forward reads."""
        result = super().on_attribute(key, owner, name)
        if self.is_watching and id(result) in self.parameter_names:
            self.noted(self._note_variable, key, name, result)
        return result

    def _note_variable(self, key: SiteKey, name: str, variable: Any) -> None:
        notes = self.sites.setdefault(key, Notes(callee=Callee.ATTRIBUTE, name=name))
        path, shape = self.parameter_names[id(variable)], tuple(map(int, variable.shape))
        notes.outputs = notes.outputs or (
            Value(shape=shape, dtype=type_of(variable), parameter=path),
        )
        notes.calls[self.phase] += 1
        notes.parameters[path] = None
        notes.is_tensor = True

    def note_method(self, key: SiteKey, function: Callable[..., Any]) -> None:
        """Do nothing: methods of layers are noted where they are read."""

    def note_callee(self, key: SiteKey, notes: Notes, function: Callable[..., Any]) -> None:
        """Note the layer that was called, at build too, or the kind of function."""
        if isinstance(function, keras.Layer):
            notes.callee, notes.modules[id(function)] = Callee.MODULE, None
            self.module_notes(function).used_at[key] = None
            notes.name = MERGES.get(type(function).__name__, "")
        elif self.is_watching:
            notes.name = str(getattr(function, "__name__", ""))
            if str(getattr(function, "__module__", "") or "").split(".")[0] in _LIBRARIES:
                notes.callee = Callee.FUNCTION

    def seen_by(self, notes: Notes, before: Operands) -> Iterable[int]:
        """All that the active layer has seen, unless a function's operands say all."""
        return () if notes.callee is Callee.FUNCTION and before else self.seen[-1]

    def run_module(
        self, module: Any, before: Operands, call: Callable[[], Any]
    ) -> tuple[Any, Iterable[int]]:
        """Call a layer; the result may depend on its inputs, its variables and what it calls."""
        own = self.own_leaves(module)
        self.seen.append([*own, *(node for _, node in before.values() if node is not None)])
        result = call()
        seen, late = self.seen.pop(), self.own_leaves(module)
        takes_numbers = not any(is_floating(value) for value, _ in before.values())
        if takes_numbers and self.phase is Phase.TRAIN:
            self.inputs += late  # an embedding: the origin for inputs that carry no gradient
        return result, [*seen, *late]

    def own_leaves(self, layer: Any) -> list[int]:
        """The nodes of a layer's own parameters; of a layer of Keras also those of its parts.

        Keras may compute with the weights of parts that it does not call, such as recurrent cells.
        """
        is_whole = type(layer).__module__.startswith("keras.src.layers.")
        variables = variables_by_path if is_whole else own_variables
        return [self.leaf(variable) for _, variable, learns in variables(layer) if learns]

    def given(self, function: object, arguments: Iterable[Named]) -> Iterator[Named]:
        """The arguments, and tensors of lists, of which the first also stands for the list."""
        for name, value in arguments:
            if isinstance(value, list | tuple):
                inside = [item for item in value[:64] if self.is_tensor(item)]
                yield from ((name, item) for item in inside[:1])
                yield from ((f"{name}.{place}", item) for place, item in enumerate(inside))
            else:
                yield name, value

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

    def value(self, tensor: Any, node: Any = None, *, check_range: bool = False) -> Value:
        """Describe a tensor in plain data."""
        return Value(
            shape=tuple(int(size) for size in tensor.shape),
            dtype=type_of(tensor),
            made_by=self.makers.get(id(tensor)),
            in_unit=check_range and _is_in_unit(tensor),
            hides_positions=getattr(tensor, "_keras_mask", None) is not None,
        )


def _is_in_unit(tensor: Any) -> bool:
    """Whether every value lies in [0, 1]; a symbol has none."""
    if isinstance(tensor, keras.KerasTensor) or not is_floating(tensor):
        return False
    try:
        values = keras.ops.convert_to_numpy(tensor)
    except (TypeError, AttributeError, NotImplementedError):  # a symbol of the back end
        return False
    return values.size > 0 and bool(values.min() >= 0) and bool(values.max() <= 1)
