"""The autograd graph of one forward, copied into plain numbers.

Later a cut replaces the successors of some nodes (by nothing: the value became a constant; by an
operand's node: the operation was bypassed), and a walk from the outputs tells which parameters are
still reached: see `trace.records.Gradients`.

Memory of tensors in the training forward: who shares it, who writes into it, who reads it later.

An edit that passes an operand on in the place of a result gives the operand's memory to the code
that follows. Where that code writes in place, all others that hold the operand see it:

    h = norm(x); h += pos; return x + f(h)      without the norm, `h += pos` also changes x

A result is written into when torch's version counter, which views share, moves after the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from antifragile.ablate.trace.notes import Notes, Operands
from antifragile.ablate.trace.records import Gradients

Node = Any  # torch.autograd.graph.Node; kept alive here, so that identity holds


def node_of(tensor: Tensor) -> Node | None:
    """Return the node that made a tensor; for a leaf, the one that would collect its gradient.

    A view made without gradients says that it requires one, yet has no node of either kind.
    """
    if not tensor.requires_grad:
        return None
    if tensor.grad_fn is not None:
        return tensor.grad_fn
    with torch.enable_grad():
        above = tensor.view_as(tensor).grad_fn
    return None if above is None else above.next_functions[0][0]


class Graph:
    """The autograd graph below some outputs."""

    def __init__(self, outputs: Iterable[Tensor]) -> None:
        self.numbers: dict[Node, int] = {}
        starts = [node for node in map(node_of, outputs) if node is not None]
        self.starts = tuple(dict.fromkeys(self._number(node) for node in starts))
        self.successors = self._collect(starts)

    def _number(self, node: Node) -> int:
        return self.numbers.setdefault(node, len(self.numbers))

    def _collect(self, starts: Sequence[Node]) -> tuple[tuple[int, ...], ...]:
        queue, seen = list(starts), set(starts)
        successors: dict[int, tuple[int, ...]] = {}
        while queue:
            node = queue.pop()
            below = [edge[0] for edge in node.next_functions if edge[0] is not None]
            successors[self._number(node)] = tuple(map(self._number, below))
            fresh = [item for item in dict.fromkeys(below) if item not in seen]
            seen.update(fresh)
            queue += fresh
        return tuple(successors[number] for number in range(len(self.numbers)))

    def find(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor's node, if the outputs depend on it."""
        node = node_of(tensor)
        return None if node is None else self.numbers.get(node)

    def reached_without(self, nodes: Iterable[Node]) -> set[int]:
        """Return the numbers of the nodes that the outputs reach past some others."""
        cut = {self.numbers[node]: () for node in nodes if node in self.numbers}
        graph = Gradients(successors=self.successors, starts=self.starts)
        return graph.walk(cut) - cut.keys()


def parameter_nodes(graph: Graph, parameters: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the node of every parameter that the outputs reach."""
    found = {name: graph.find(parameter) for name, parameter in parameters.items()}
    return {name: number for name, number in found.items() if number is not None}


@dataclass(frozen=True, kw_only=True)
class Result:
    """One call's result in new memory, and the operands that might take its place.

    Args:
        tensor: The result.
        version: Its version counter when the call ended.
        time: Number of reads until then.
        made: Its nodes in autograd's graph, and those of the tensor that it is a view of.
        operands: By name, their memory and their nodes, with those of what they are views of.
    """

    tensor: Tensor
    version: int
    time: int
    made: frozenset[Node]
    operands: Mapping[str, tuple[int, frozenset[Node]]]

    @property
    def is_rewritten(self) -> bool:
        """Whether later code wrote into it in place."""
        return self.tensor._version > self.version


class ForwardMemory:
    """Reads and results of one training forward; the recorder keeps all tensors alive meanwhile."""

    def __init__(self) -> None:
        self._time = 0
        self._last_reads: dict[int, int] = {}
        self._lasting: set[int] = set()
        self._results: list[tuple[Notes, Result]] = []

    def read(self, tensor: Tensor) -> None:
        """Note that something is called on a tensor."""
        self._time += 1
        place = memory_of(tensor)
        if place is not None:
            self._last_reads[place] = self._time

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Note tensors that live on after the forward: inputs, buffers."""
        self._lasting |= {place for place in map(memory_of, tensors) if place is not None}

    def note(self, notes: Notes, before: Operands, outputs: Sequence[Tensor]) -> None:
        """Note the result of a call, where it is one tensor in memory of its own."""
        if len(outputs) != 1:
            return
        [result] = outputs
        place = memory_of(result)
        if place is None:
            return
        places = {name: memory_of(tensor) for name, (tensor, _) in before.items()}
        operands = {
            name: (other, nodes_of(before[name][0], before[name][1]))
            for name, other in places.items()
            if other is not None and other != place
        }
        if operands:
            found = Result(
                tensor=result,
                version=result._version,
                time=self._time,
                made=nodes_of(result, result.grad_fn),
                operands=operands,
            )
            self._results.append((notes, found))

    def close(self, buffers: Callable[[], Iterable[Tensor]]) -> None:
        """Hand each rewritten result to the notes of its place, when the forward has ended."""
        rewritten = [pair for pair in self._results if pair[1].is_rewritten]
        self._results.clear()
        if rewritten:
            self.hold(buffers())
        for notes, result in rewritten:
            notes.rewritten.append(result)

    def exposed(self, result: Result, graph: Graph) -> Iterator[str]:
        """Yield the operands that the writes into a result would change for others."""
        reached: set[int] | None = None
        for name, (place, nodes) in result.operands.items():
            if place in self._lasting or self._last_reads.get(place, 0) > result.time:
                yield name
                continue
            reached = graph.reached_without(result.made) if reached is None else reached
            if any(graph.numbers.get(node) in reached for node in nodes):
                yield name


def memory_of(tensor: Tensor) -> int | None:
    """The place of a tensor's values in memory; None where it has none or it cannot be written."""
    is_plain = tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_inference()
    if not is_plain or tensor.is_nested:
        return None
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (RuntimeError, NotImplementedError):  # wrapped by vmap, or a subclass without storage
        return None


def nodes_of(tensor: Tensor, node: Node | None) -> frozenset[Node]:
    """Autograd's nodes of a tensor and of the one that it is a view of."""
    base = None if tensor._base is None else node_of(tensor._base)
    return frozenset(item for item in (node, base) if item is not None)
