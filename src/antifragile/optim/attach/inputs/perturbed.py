"""The inputs of a model's forwards in one step, and the noise added to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from antifragile.optim.attach.attached_rule import AttachedRule
from antifragile.optim.attach.inputs.arguments import Arguments, Names, map_tensors
from antifragile.optim.noise.streams import Stream
from antifragile.optim.rules import INTEGERS

StreamOf = Callable[[AttachedRule], Stream]
"""Gives the address of a rule's random numbers."""


class PerturbedInputs:
    """The inputs of the forwards within one step.

    A floating-point tensor gets the noise itself, integers get it where an embedding has read them.
    A forward that activation checkpointing repeats in the backward pass gets the noise it had.

    Attributes:
        n_perturbed: Number of perturbed tensors so far.
    """

    def __init__(self) -> None:
        self.n_perturbed = 0
        self._numbers: dict[tuple[object, ...], list[int]] = {}
        self._awaited: list[_Awaited] = []
        self._integers: list[Tensor] = []
        self._names_seen: dict[str, str] = {}
        self._found: set[tuple[int, str | None]] = set()

    @property
    def awaits_embeddings(self) -> bool:
        """Whether noise is to be added to what an embedding returns."""
        return bool(self._awaited)

    def perturb(
        self,
        rules: Sequence[AttachedRule],
        stream: StreamOf,
        module: nn.Module,
        arguments: Arguments,
    ) -> Arguments:
        """Add noise to the arguments of a module's forward that begins; await its embeddings."""
        leaves: list[_Leaf] = []

        def note(names: Names, tensor: Tensor) -> Tensor:
            leaves.append(_Leaf(names, tensor, _kind(tensor)))
            return tensor

        model = module if any(_names(attached) for attached in rules) else None
        map_tensors(note, arguments, model)
        for leaf in leaves:
            self._names_seen |= dict.fromkeys(leaf.names, leaf.kind)
        self._awaited = []
        self._integers = [leaf.tensor for leaf in leaves if leaf.kind == "integers"]
        noisy: dict[int, list[AttachedRule]] = {}
        for attached in rules:
            for place in self._places(attached, leaves):
                noisy.setdefault(place, []).append(attached)
        if not noisy:
            return arguments
        places = iter(range(len(leaves)))

        def add(_: Names, x: Tensor) -> Tensor:
            acting = noisy.get(next(places))
            if acting is None:
                return x
            number = self._number((x.data_ptr(), x.shape))
            number = self.n_perturbed - 1 if number is None else number
            return _with_noise(x, acting, stream, number)

        return map_tensors(add, arguments, model)

    def perturb_embedded(
        self, module: nn.Module, read: Tensor, x: Tensor, stream: StreamOf
    ) -> Tensor:
        """Add noise to x, which an embedding has read for the integers ``read``."""
        sources = _sources(read, self._integers)
        awaited = [item for item in self._awaited if item.is_meant(sources, module)]
        number = self._number((read.data_ptr(), x.shape, id(module))) if awaited else None
        if number is None:
            return x
        for item in awaited:
            item.by = module
            self._found.add((item.attached.number, item.name))
        return _with_noise(x, [item.attached for item in awaited], stream, number)

    def not_found(self, attached: AttachedRule) -> str | None:
        """Say what a rule was to perturb and did not find in this step; None if nothing."""
        wanted = attached.rule.inputs
        for name in _names(attached) or (None,):
            if (attached.number, name) in self._found:
                continue
            if name is None:
                either = "" if wanted else "no floating-point tensor and "
                return (
                    f"{either}no integers that a torch.nn.Embedding reads among the arguments of "
                    "the model's forwards; give perturb() the part of the model that reads one"
                )
            if name not in self._names_seen:
                seen = ", ".join(self._names_seen) or "without names"
                return f"no argument {name!r} among those of the model's forwards, which are {seen}"
            kind = self._names_seen[name]
            if kind == "integers":
                return f"no torch.nn.Embedding that reads the integers {name!r} themselves"
            return f"{kind} in {name!r}, to which no noise can be added"
        return None

    def _places(self, attached: AttachedRule, leaves: Sequence[_Leaf]) -> list[int]:
        """Places of the tensors that get a rule's noise themselves; await the embeddings' part."""
        floats = [i for i, leaf in enumerate(leaves) if leaf.kind == "floats"]
        if not (wanted := _names(attached)):
            arrays = [i for i in floats if leaves[i].tensor.ndim]  # no count, as of tokens
            if attached.rule.inputs is None and arrays:
                self._found.add((attached.number, None))
                return arrays[:1]
            self._await(attached, None, self._integers)
            return []
        chosen: dict[int, None] = {}
        for name in wanted:
            named = [i for i in floats if name in leaves[i].names]
            if named:
                self._found.add((attached.number, name))
            chosen |= dict.fromkeys(named)
            integers = [x for names, x, kind in leaves if kind == "integers" and name in names]
            self._await(attached, name, integers)
        return list(chosen)

    def _await(self, attached: AttachedRule, name: str | None, integers: list[Tensor]) -> None:
        if integers:
            self._awaited.append(_Awaited(attached, name, integers))

    def _number(self, key: tuple[object, ...]) -> int | None:
        """Number of this tensor, or of the one it repeats; None if that is not known."""
        is_repeated = torch._C._current_graph_task_id() != -1  # a backward pass is under way
        numbers = self._numbers.setdefault(key, [])
        if is_repeated and self.n_perturbed:  # the last forward of the same tensor is the first
            return numbers.pop() if len(numbers) > 1 else next(iter(numbers), None)
        numbers.append(self.n_perturbed)
        self.n_perturbed += 1
        return self.n_perturbed - 1


class _Leaf(NamedTuple):
    """A tensor among the arguments of a forward, with its names and what it holds."""

    names: Names
    tensor: Tensor
    kind: str


@dataclass
class _Awaited:
    """Integers of the present forward that an embedding will read.

    Args:
        attached: The rule.
        name: Name of the argument that they are; None for any argument, of which the first that is
            read counts.
        tensors: The integers.
        by: The embedding that read them last.
    """

    attached: AttachedRule
    name: str | None
    tensors: list[Tensor]
    by: nn.Module | None = None

    def is_meant(self, sources: Sequence[Tensor], module: nn.Module) -> bool:
        """Whether an embedding that reads these arguments is one that is awaited."""
        if self.name is None and self.by not in (None, module):
            return False
        return any(source is tensor for source in sources for tensor in self.tensors)


def _sources(read: Tensor, integers: Sequence[Tensor]) -> list[Tensor]:
    """Return those of the arguments that an embedding reads, whole or a view of them."""
    exact = [tensor for tensor in integers if tensor.data_ptr() == read.data_ptr()]
    storage = read.untyped_storage().data_ptr()
    return exact or [t for t in integers if t.untyped_storage().data_ptr() == storage]


def _names(attached: AttachedRule) -> Sequence[str]:
    """Names of the arguments that a rule acts on; empty where it goes by their kind."""
    inputs = attached.rule.inputs
    return () if inputs is None or inputs == INTEGERS else inputs


def _with_noise(x: Tensor, rules: Sequence[AttachedRule], stream: StreamOf, number: int) -> Tensor:
    for attached in rules:
        x = x + attached.input_noise(stream(attached), x.detach(), number)
    return x


def _kind(tensor: Tensor) -> str:
    if tensor.is_floating_point():
        return "floats"
    if tensor.is_complex() or tensor.dtype is torch.bool:
        return "complex numbers" if tensor.is_complex() else "booleans"
    return "integers"
