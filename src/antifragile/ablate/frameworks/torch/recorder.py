"""Recorder of a torch model: modules, calls, sums and products, parameters.

Nodes are those of torch's autograd graph; views also name the node of what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.torch.gradients import Node, node_of
from antifragile.ablate.records import SiteKey
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.initial_values import Fill, InitialValues, Sample, is_orthogonal
from antifragile.ablate.trace.nested import Named
from antifragile.ablate.trace.notes import Notes, Operands, Phase
from antifragile.ablate.trace.recorder import Recorder
from antifragile.ablate.trace.records import Callee, Value

_FUNCTION_NAMES = {
    id(function): name
    for space in (torch, torch.nn.functional)
    for name, function in vars(space).items()
    if callable(function)
}


_UNSET = ("empty", "empty_like", "new_empty", "empty_strided", "Tensor", "FloatTensor")
_ADJUSTING = ("mul_", "add_", "sub_", "div_", "clamp_", "neg_", "abs_", "pow_", "masked_fill_")
_SAMPLE = 4096  # values of a parameter that are kept to compare initial values
_LARGEST_MATRIX = 2**14  # elements up to which singular values are computed
_UNCHANGING = ("requires_grad_", "detach_", "share_memory_")


class TorchRecorder(Recorder):
    """The notes of one trace of a torch model."""

    def __init__(self, sources: Mapping[str, SourceFile]) -> None:
        super().__init__(nn.Module, frozenset(dir(nn.Identity())), sources)
        self.bases: dict[Node, Node | None] = {}  # node of a view -> node of what it shows
        self.parameters: dict[int, str] = {}  # filled once the model is built
        self.initial = InitialValues()

    def on_call(
        self, key: SiteKey, function: Callable[..., Any], /, *args: object, **kwargs: object
    ) -> Any:
        """Evaluate a call and note it; while the model is built, also what it fills."""
        if self.is_watching or self.parameters:
            return super().on_call(key, function, *args, **kwargs)
        tensor = filled_by(function, args, kwargs)
        before = None if tensor is None else _sample(tensor)
        result = super().on_call(key, function, *args, **kwargs)
        if tensor is not None and before is not None:
            self._note_fill(key, function, tensor, before)
        elif isinstance(result, Tensor) and getattr(function, "__name__", "") in _UNSET:
            self.keep.append(result)
            self.initial.unset.add(result.untyped_storage().data_ptr())
        return result

    def _note_fill(
        self, key: SiteKey, function: Callable[..., Any], tensor: Tensor, before: Sample
    ) -> None:
        """Note a call that wrote into a tensor, which may be a parameter's."""
        self.keep.append(tensor)
        storage = tensor.untyped_storage()
        is_whole = tensor.nbytes == storage.nbytes()
        replaces = getattr(function, "__name__", "") not in _ADJUSTING
        fill = Fill(
            sites=frozenset([*self.stack, key]),
            holder=id(tensor) if isinstance(tensor, nn.Parameter) else storage.data_ptr(),
            before=before,
            after=_sample(tensor),
            is_whole=is_whole,
            replaces=replaces,
            is_first=storage.data_ptr() in self.initial.unset,
        )
        self.initial.fills.append(fill)
        if is_whole and replaces:
            self.initial.unset.discard(storage.data_ptr())

    def note_method(self, key: SiteKey, function: Callable[..., Any]) -> None:
        """Note the method of a module that an identity lacks."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, nn.Module):
            self.note_touched(key, owner, getattr(function, "__name__", ""))

    def is_guarded(self, file: str, number: int) -> bool:
        """Whether an attribute is read behind a check of the class, or by its own object."""
        source = self.sources[file]
        return super().is_guarded(file, number) or source.class_guard(source.sites[number])

    def note_made(self, key: SiteKey, result: object, started: int) -> None:
        """Note a module or a parameter that a call returned."""
        super().note_made(key, result, started)
        if self.is_watching:
            return
        if isinstance(result, nn.Module) and self.modules[id(result)].built_at:
            parameters = list(result.parameters())
            self.modules[id(result)].first_parameters = set(map(id, parameters))
            self.keep += parameters
        elif isinstance(result, nn.Parameter):
            self.sites[key].new_parameters[id(result)] = None
            self.keep.append(result)

    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of torch."""
        return isinstance(value, Tensor)

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

    def on_done(self, key: SiteKey, target: object) -> None:
        """Note the result of `target += value`; where that is a view, its base holds more."""
        super().on_done(key, target)
        if isinstance(target, Tensor):
            self.bases.pop(target.grad_fn, None)

    def on_attribute(self, key: SiteKey, owner: object, name: str) -> Any:
        """Evaluate `owner.name`; note parameters that are used and attributes of modules."""
        result = super().on_attribute(key, owner, name)
        if isinstance(result, nn.Parameter) and not self.is_watching and not self.parameters:
            self.keep.append(result)
            self.initial.reads[key] = id(result)
        if self.is_watching and isinstance(result, nn.Parameter):
            notes = self.sites.setdefault(key, Notes(callee=Callee.ATTRIBUTE, name=name))
            notes.calls[self.phase] += 1
            self.note_values(notes, {}, result)
            if id(result) in self.parameters:
                notes.parameters[self.parameters[id(result)]] = None
        return result

    def given(self, function: object, arguments: Iterable[Named]) -> Iterator[Named]:
        """The arguments, items of lists, and the tensor whose method is called."""
        yield "self", getattr(function, "__self__", None)
        for name, value in arguments:
            yield name, value
            if isinstance(value, list | tuple):
                yield from ((f"{name}.{place}", item) for place, item in enumerate(value[:64]))

    def note_callee(self, key: SiteKey, notes: Notes, function: Callable[..., Any]) -> None:
        """Note the kind of function that was called in a forward."""
        if not self.is_watching:
            return
        owner, name = getattr(function, "__self__", None), str(getattr(function, "__name__", ""))
        module = owner if name == "forward" else function
        if isinstance(module, nn.Module):
            notes.callee = Callee.MODULE
            notes.modules[id(module)] = None
            self.module_notes(module).used_at[key] = None
            return
        if isinstance(owner, Tensor):
            notes.callee = Callee.METHOD
        elif id(function) in _FUNCTION_NAMES or _is_library_function(function):
            notes.callee = Callee.FUNCTION
            name = _FUNCTION_NAMES.get(id(function), name)
        notes.name = name

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


def filled_by(
    function: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]
) -> Tensor | None:
    """Return the dense tensor that a library's function changes in place, by torch's `name_`."""
    name, owner = str(getattr(function, "__name__", "")), getattr(function, "__self__", None)
    is_reported = "__af_call__" in getattr(function, "__globals__", {})  # its own calls are noted
    if not name.endswith("_") or name.endswith("__") or name in _UNCHANGING or is_reported:
        return None
    found = owner if isinstance(owner, Tensor) else next(iter([*args, *kwargs.values()]), None)
    if not isinstance(found, Tensor) or found.is_meta or found.layout is not torch.strided:
        return None
    is_lazy = isinstance(found, nn.UninitializedParameter | nn.UninitializedBuffer)
    return found if found.is_floating_point() and found.numel() and not is_lazy else None


def _sample(tensor: Tensor) -> Sample:
    """Some values of a tensor, evenly spread, as they are now."""
    values, size = tensor.detach().cpu(), tensor.numel()
    some = values.reshape(-1)[:: -(-size // _SAMPLE)].to(torch.float64, copy=True)
    is_small = size <= _LARGEST_MATRIX
    return Sample(
        values=some.numpy(),
        is_orthogonal=is_small and is_orthogonal(values.to(torch.float64).numpy()),
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
