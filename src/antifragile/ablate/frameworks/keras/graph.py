"""Places in the source that built a functional model, seen again when the finished model runs.

A functional model is built by calls and operators on symbols; its forward runs the graph that they
left, not the source. So each place is kept with its symbols, and noted like a place in a forward as
soon as the graph has computed the tensors that these symbols stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from antifragile.ablate.frameworks.keras.layers import keras
from antifragile.ablate.records import SiteKey
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.nested import tensors_in
from antifragile.ablate.trace.notes import Notes, Operands, Phase
from antifragile.ablate.trace.plain import plain_arguments
from antifragile.ablate.trace.recorder import PRODUCTS, Recorder
from antifragile.ablate.trace.records import Callee, Value


@dataclass(kw_only=True)
class SymbolicCall:
    """One call or operator on symbols.

    Args:
        key: The place.
        function: The callable, or the sign of an operator.
        args: Arguments or operands.
        kwargs: Arguments by name.
        result: The value returned.
    """

    key: SiteKey
    function: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    result: Any
    known: set[int] = field(default_factory=set)  # ids of the results that this run has computed


class Graphs:
    """The symbolic calls of all functional models, and the tensors of their symbols.

    Args:
        recorder: Takes the notes.
    """

    def __init__(self, recorder: GraphRecorder) -> None:
        self._recorder = recorder
        self._calls: dict[int, list[SymbolicCall]] = {}  # by the id of each symbol it returned
        self._tensors: dict[int, Any] = {}  # the latest tensor of each symbol

    def keep(self, call: SymbolicCall) -> None:
        """Keep a call whose result holds symbols that it was not given."""
        given = {id(item) for item in tensors_in([call.args, call.kwargs], is_symbol)}
        made = [item for item in tensors_in(call.result, is_symbol) if id(item) not in given]
        for symbol in made if given else ():
            self._calls.setdefault(id(symbol), []).append(call)
        if made and isinstance(call.function, str):  # calls are counted by the recorder
            notes = self._recorder.sites.setdefault(call.key, Notes(callee=Callee.OPERATOR))
            notes.calls[self._recorder.phase] += 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow the graphs that run inside."""
        function = keras.src.ops.function.Function
        original = function._run_through_graph

        @wraps(original)
        def watched(
            graph: Any,
            inputs: Any,
            operation_fn: Callable[[Any], Any] = lambda operation: operation,
            call_fn: Callable[..., Any] | None = None,
        ) -> Any:
            if call_fn is not None or not self._recorder.is_watching:
                return original(graph, inputs, operation_fn, call_fn)
            nodes = computed_nodes(graph)
            self._tensors |= zip(map(id, graph.inputs), keras.tree.flatten(inputs), strict=True)

            def call(operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
                result = operation(*args, **kwargs)
                self._recorder.noted(self._note_node, next(nodes), args, kwargs, result)
                return result

            return original(graph, inputs, operation_fn, call)

        function._run_through_graph = watched
        try:
            yield
        finally:
            function._run_through_graph = original

    def _note_node(self, node: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Keep what a node of a graph computed; note the calls that are complete with it."""
        recorder, outputs = self._recorder, keras.tree.flatten(result)
        recorder.keep.append(outputs)
        if not isinstance(node.operation, keras.Layer):
            tensors = [item for item in outputs if recorder.is_tensor(item)]
            recorder.note_operation(tensors, recorder.operands(None, args, kwargs))
        for symbol, tensor in zip(node.outputs, outputs, strict=True):
            self._tensors[id(symbol)] = tensor
            for call in self._calls.get(id(symbol), ()):
                call.known.add(id(symbol))
                if len(call.known) == len(
                    {id(item) for item in tensors_in(call.result, is_symbol)}
                ):
                    call.known.clear()
                    self._note(call)

    def _note(self, call: SymbolicCall) -> None:
        """Note a call as if the source ran now, on the tensors of its symbols."""
        recorder = self._recorder
        if any(
            id(item) not in self._tensors
            for item in tensors_in([call.args, call.kwargs], is_symbol)
        ):
            return  # a part of it belongs to another model
        args, kwargs, result = (
            keras.tree.map_structure(self._tensor_of, part)
            for part in (list(call.args), dict(call.kwargs), call.result)
        )
        if isinstance(call.function, str):
            recorder.note_operator(call.key, call.function, args, result)
            return
        notes = recorder.sites.setdefault(call.key, Notes())
        notes.calls[recorder.phase] += 1
        before = recorder.operands(call.function, tuple(args), kwargs)
        recorder.note_callee(call.key, notes, call.function)
        values = recorder.values_of(before) if notes.name in PRODUCTS else None
        if not notes.arguments:
            notes.arguments.update(plain_arguments(tuple(args), kwargs))
        seen = recorder.seen_by(notes, before)
        recorder.note_values(notes, before, result, seen=seen, values=values or None)

    def _tensor_of(self, item: Any) -> Any:
        return self._tensors[id(item)] if is_symbol(item) else item


class GraphRecorder(Recorder):
    """A recorder that also notes the places which built functional models."""

    def __init__(
        self, module_class: Any, attributes: frozenset[str], sources: Mapping[str, SourceFile]
    ) -> None:
        super().__init__(module_class, attributes, sources)
        self.graphs = Graphs(self)
        self._symbols: dict[SiteKey, tuple[Any, ...]] = {}  # each `+=` that is under way

    @contextmanager
    def watching(self, root: str) -> Iterator[None]:
        """Take notes, also of the places that build a functional model."""
        with super().watching(root), self.graphs.watching():
            yield

    def on_call(
        self, key: SiteKey, function: Callable[..., Any], /, *args: object, **kwargs: object
    ) -> Any:
        """Evaluate `function(*args, **kwargs)` and note it; one on symbols once they are known."""
        result = super().on_call(key, function, *args, **kwargs)
        if not self.is_watching:
            call = SymbolicCall(key=key, function=function, args=args, kwargs=kwargs, result=result)
            self.noted(self.graphs.keep, call)
        return result

    def on_binary(self, key: SiteKey, sign: str, left: Any, right: Any) -> Any:
        """Evaluate `left + right`, or another operator; note it, on symbols once they are known."""
        result = super().on_binary(key, sign, left, right)
        if not self.is_watching:
            call = SymbolicCall(key=key, function=sign, args=(left, right), result=result)
            self.noted(self.graphs.keep, call)
        return result

    def on_operand(self, key: SiteKey, sign: str, target: object, value: object) -> object:
        """Keep the operands of `target += value`; return `value`."""
        self._symbols[key] = (sign, target, value)
        return super().on_operand(key, sign, target, value)

    def on_done(self, key: SiteKey, target: object) -> None:
        """Note the result of `target += value`; that of symbols once they are known."""
        super().on_done(key, target)
        sign, *sides = self._symbols.pop(key)
        if not self.is_watching:
            call = SymbolicCall(key=key, function=sign, args=sides, result=target)
            self.noted(self.graphs.keep, call)

    def note_operator(
        self, key: SiteKey, sign: str, sides: Sequence[object], result: object
    ) -> None:
        """Note an operator whose operands and result are known."""
        self._note_operation(key, self._operation(key, sign, *sides), result)

    def note_operation(self, outputs: Sequence[Any], before: Operands) -> None:
        """Note that results were computed from operands and nothing else."""
        if self.phase is Phase.TRAIN:
            self.nodes_of(outputs, before, ())

    def values_of(self, before: Operands) -> dict[str, Value]:
        """Describe the operands of a product."""
        return self._values(before, check_range=True)


def is_symbol(item: object) -> bool:
    """Whether something is a symbol that stands for a tensor."""
    return isinstance(item, keras.KerasTensor)


def computed_nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph in the order in which Keras computes them."""
    known = set(map(id, graph.inputs))
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            is_called = node.operation and not node.is_input
            if is_called and all(id(item) in known for item in node.input_tensors):
                known.update(map(id, node.outputs))
                yield node
