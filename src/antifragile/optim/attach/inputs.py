"""The inputs of a model's forwards in one step, and the noise added to them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from antifragile.optim.attach.attached_rule import AttachedRule
from antifragile.optim.noise.streams import Stream


class PerturbedInputs:
    """The inputs of the forwards within one step.

    A forward that activation checkpointing repeats in the backward pass gets the noise it had.

    Attributes:
        forwards: Number of perturbed forwards so far.
    """

    def __init__(self) -> None:
        self.forwards = 0
        self._seen: dict[tuple[int, torch.Size], int] = {}

    def perturbed(
        self,
        rules: Sequence[AttachedRule],
        stream: Callable[[AttachedRule], Stream],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Add noise to the first floating-point tensor among a forward's arguments.

        Args:
            rules: The rules on inputs.
            stream: Gives the address of a rule's random numbers.
            args: Positional arguments; lists, tuples and mappings are looked into.
            kwargs: Keyword arguments, looked at after the positional ones.
        """
        leaves, spec = tree_flatten((args, kwargs))
        for place, leaf in enumerate(leaves):
            key = _key_of_tensor(leaf)
            if key is None and not _is_input(leaf):
                continue
            x = leaf if key is None else leaf[key]
            number = self._number(x)
            for attached in rules:
                x = x + attached.input_noise(stream(attached), x.detach(), number)
            if key is not None:
                leaves[place] = copy.copy(leaf)
                leaves[place][key] = x
            else:
                leaves[place] = x
            break
        perturbed: tuple[tuple[Any, ...], dict[str, Any]] = tree_unflatten(leaves, spec)
        return perturbed

    def _number(self, x: Tensor) -> int:
        """Number of this forward, or of the one it repeats."""
        is_repeated = torch._C._current_graph_task_id() != -1  # a backward pass is under way
        key = (x.data_ptr(), x.shape)
        if is_repeated and self.forwards:
            return self._seen.get(key, self.forwards - 1)
        self._seen[key] = self.forwards
        self.forwards += 1
        return self.forwards - 1


def _is_input(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _key_of_tensor(leaf: object) -> Any:
    """First key of a mapping that torch does not look into, such as a tokenizer's result."""
    if not isinstance(leaf, Mapping):
        return None
    return next((key for key, value in leaf.items() if _is_input(value)), None)
