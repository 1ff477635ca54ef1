"""Recorder of a torch model: modules, calls, sums and products, parameters.

Nodes are those of torch's autograd graph; views also name the node of what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.torch.gradients import Node, node_of
from antifragile.ablate.records import SiteKey
from antifragile.ablate.trace.nested import tensors_in
from antifragile.ablate.trace.notes import Notes, Operands, Phase
from antifragile.ablate.trace.plain import named
from antifragile.ablate.trace.recorder import Recorder
from antifragile.ablate.trace.records import Callee, Value

_FUNCTION_NAMES = {
    id(function): name
    for space in (torch, torch.nn.functional)
    for name, function in vars(space).items()
    if callable(function)
}


class TorchRecorder(Recorder):
    """The notes of one trace of a torch model."""

    def __init__(self, guarded: Callable[[SiteKey], bool]) -> None:
        super().__init__(nn.Module, frozenset(dir(nn.Identity())), guarded)
        self.bases: dict[Node, Node | None] = {}  # node of a view -> node of what it shows
        self.parameters: dict[int, str] = {}  # filled once the model is built

    def note_method(self, key: SiteKey, function: Callable[..., Any]) -> None:
        """Note the method of a module that an identity lacks."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, nn.Module):
            self.note_touched(key, owner, getattr(function, "__name__", ""))

    def note_call(
        self,
        key: SiteKey,
        notes: Notes,
        function: Callable[..., Any],
        before: Operands,
        result: object,
    ) -> None:
        """Note the kind of function that was called in a forward, and its result."""
        self._note_callee(key, notes, function)
        self.note_values(notes, before, result)

    def note_made(
        self, key: SiteKey, notes: Notes, function: Callable[..., Any], result: object, started: int
    ) -> None:
        """Note a module or a parameter that a call returned."""
        if isinstance(result, nn.Module):
            built = self.note_built(key, result, started)
            if built.built_at and not self.is_watching:
                built.first_parameters = {id(parameter) for parameter in result.parameters()}
                self.keep += list(result.parameters())
        elif isinstance(result, nn.Parameter) and not self.is_watching:
            notes.new_parameters[id(result)] = None
            self.keep.append(result)

    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of torch."""
        return is_tensor(value)

    def node(self, tensor: Any) -> Node | None:
        """The autograd node of a tensor in the training forward."""
        return node_of(tensor) if self.phase is Phase.TRAIN else None

    def nodes_of(self, outputs: Sequence[Any], before: Operands, seen: Iterable[Any]) -> list[Node]:
        """The autograd nodes of a call's outputs.

        Views also note what they show: a later write in place gives the view another node.
        """
        for tensor in outputs:
            if tensor._base is not None and tensor.grad_fn is not None:
                self.bases[tensor.grad_fn] = node_of(tensor._base)
        return [node for node in map(node_of, outputs) if node is not None]

    def note_mixed(self, key: SiteKey, *operands: object) -> None:
        """Note operands that are sometimes no tensors: `x + skip` where skip starts as 0."""
        if self.is_watching and any(isinstance(item, Tensor) for item in operands):
            notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR))
            for place, item in enumerate(operands):
                if not isinstance(item, Tensor):
                    notes.arguments[f"mixed {place}"] = True

    def on_operand(self, key: SiteKey, sign: str, target: object, value: object) -> None:
        """Note the operands of `target += value` before it happens."""
        if not self.is_watching or not isinstance(target, Tensor) or not isinstance(value, Tensor):
            return
        notes = self.sites.setdefault(key, Notes(callee=Callee.OPERATOR, name=sign))
        notes.calls[self.phase] += 1
        before = {"0": (target, self.node(target)), "1": (value, self.node(value))}
        self.note_values(notes, before, target, check_bounds=True)
        notes.arguments["pending"] = True

    def on_done(self, key: SiteKey, target: Any) -> None:
        """Note the result of `target += value`."""
        notes = self.sites.get(key)
        if notes is None or not notes.arguments.pop("pending", False):
            return
        if self.phase is Phase.TRAIN and notes.nodes:
            notes.nodes[-1] = ([self.node(target)], notes.nodes[-1][1])
        notes.outputs = notes.outputs or (self.value(target),)

    def on_attribute(self, key: SiteKey, owner: object, name: str) -> Any:
        """Evaluate `owner.name`; note parameters that are used and attributes of modules."""
        result = getattr(owner, name)
        if isinstance(owner, nn.Module):
            self.note_touched(key, owner, name)
        if self.is_watching and isinstance(result, nn.Parameter):
            notes = self.sites.setdefault(key, Notes(callee=Callee.ATTRIBUTE, name=name))
            notes.calls[self.phase] += 1
            self.note_values(notes, {}, result)
            if id(result) in self.parameters:
                notes.parameters[self.parameters[id(result)]] = None
        return result

    def on_module(
        self,
        module: nn.Module,
        original: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> Any:
        """Call a module and note its operands and results."""
        notes = self.module_notes(module)
        notes.calls[self.phase] += 1
        before = self.operands(None, args, kwargs)
        notes.extra.update(dict.fromkeys([*map(str, range(1, len(args))), *kwargs]))
        result = original(module, *args, **kwargs)
        self.note_values(notes, before, result)
        for tensor in tensors_in(result, is_tensor):
            self.makers[id(tensor)] = id(module)
        return result

    def operands(
        self, function: object, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Operands:
        """The tensors among the arguments, and the one whose method is called."""
        found: dict[str, tuple[Tensor, Node | None]] = {}
        owner = getattr(function, "__self__", None)
        if isinstance(owner, Tensor):
            found["self"] = (owner, self.node(owner))
        for name, value in named(args, kwargs):
            if isinstance(value, Tensor):
                found[name] = (value, self.node(value))
            elif isinstance(value, list | tuple):
                for place, item in enumerate(value[:64]):
                    if isinstance(item, Tensor):
                        found[f"{name}.{place}"] = (item, self.node(item))
        return found

    def _note_callee(self, key: SiteKey, notes: Notes, function: Callable[..., Any]) -> None:
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
        elif id(function) in _FUNCTION_NAMES or _is_library_function(function):
            notes.callee = Callee.FUNCTION
            notes.name = _FUNCTION_NAMES.get(id(function), getattr(function, "__name__", ""))
        else:
            notes.name = str(getattr(function, "__name__", ""))

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
            bounded=check_bounds and _is_bounded(tensor),
        )


def _is_library_function(function: Callable[..., Any]) -> bool:
    """Whether a function comes from torch or another installed array library."""
    module = str(getattr(function, "__module__", "") or "")
    return module.split(".")[0] in {"torch", "einops"} or "torch" in type(function).__module__


def _is_bounded(tensor: Tensor) -> bool:
    """Whether every value lies in [-1, 1]."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return False
    with torch.no_grad():
        return bool(tensor.abs().max() <= 1)


def is_tensor(value: object) -> bool:
    """Whether something is a tensor of torch."""
    return isinstance(value, Tensor)
