"""The autograd graph of one forward, copied into plain numbers.

Later a cut replaces the successors of some nodes (by nothing: the value became a constant; by an
operand's node: the operation was bypassed), and a walk from the outputs tells which parameters are
still reached: see `trace.records.Gradients`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

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
        cut = {self.numbers[node] for node in nodes if node in self.numbers}
        seen = set(self.starts) - cut
        queue = list(seen)
        while queue:
            for below in self.successors[queue.pop()]:
                if below not in seen and below not in cut:
                    seen.add(below)
                    queue.append(below)
        return seen


def parameter_nodes(graph: Graph, parameters: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the node of every parameter that the outputs reach."""
    found = {name: graph.find(parameter) for name, parameter in parameters.items()}
    return {name: number for name, number in found.items() if number is not None}
