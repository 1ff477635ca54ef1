"""Recorder of a torch model: modules, calls, sums and products, parameters.

Nodes are those of torch's autograd graph; views also name the node of what they show.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.torch.gradients import ForwardMemory, Node, node_of
from antifragile.ablate.frameworks.torch.reach import is_lazy
from antifragile.ablate.records import SiteKey
from antifragile.ablate.source.syntax import SourceFile
from antifragile.ablate.trace.initial_values import Fill, InitialValues, Sample, is_orthogonal
from antifragile.ablate.trace.nested import Named, tensors_in
from antifragile.ablate.trace.notes import ModuleNotes, Notes, Operands, Phase
from antifragile.ablate.trace.recorder import Recorder
from antifragile.ablate.trace.records import Callee, Value

_FUNCTION_NAMES = {
    id(function): name
    for space in (torch, torch.nn.functional)
    for name, function in vars(space).items()
    if callable(function)
}

_MASKED = -1e4  # scores below stand for -infinity; the templates of masked scores know it too
_MOVES = re.compile(  # nodes of views and copies: they only say where a value stands
    r"((Unsafe)?View|ReshapeAlias|Alias|AsStrided|Clone|ToCopy|Expand|Repeat|Select|Slice|Squeeze|"
    r"Unsqueeze|Transpose|Permute|T|Movedim|(Unsafe)?Split|SplitWithSizes|Unbind|Index|IndexSelect|"
    r"Flip|Roll)Backward\d*"
)


_UNSET = ("empty", "empty_like", "new_empty", "empty_strided", "Tensor", "FloatTensor")
_ADJUSTING = ("mul_", "add_", "sub_", "div_", "clamp_", "neg_", "abs_", "pow_", "masked_fill_")
_SAMPLE = 4096  # values of a parameter that are kept to compare initial values
_LARGEST_MATRIX = 2**14  # elements up to which singular values are computed
_QUESTIONS: tuple[Any, ...] = (isinstance, type, hasattr, getattr)
_IDENTITY = nn.Identity()
_UNCHANGING = ("requires_grad_", "detach_", "share_memory_")


class TorchRecorder(Recorder):
    """The notes of one trace of a torch model."""

    def __init__(self, sources: Mapping[str, SourceFile]) -> None:
        super().__init__(nn.Module, frozenset(dir(nn.Identity())), sources)
        self.bases: dict[Node, Node | None] = {}  # node of a view -> node of what it shows
        self.parameters: dict[int, str] = {}  # filled once the model is built
        self.initial = InitialValues()
        self.memory = ForwardMemory()

    def on_call(
        self, key: SiteKey, function: Callable[..., Any], /, *args: object, **kwargs: object
    ) -> Any:
        """Evaluate a call and note it; while the model is built, also what it fills."""
        if function in _QUESTIONS:
            self.noted(self.note_question, key, function, args)
        if function is isinstance or function is hasattr:  # they read no tensor's values
            return function(*args, **kwargs)
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

    def forget(self) -> None:
        """Drop all notes, those on the construction too."""
        super().forget()
        self.parameters, self.initial = {}, InitialValues()

    @contextmanager
    def watching(self, root: str) -> Iterator[None]:
        """Take notes; a deep copy of a module inherits those on its original's construction."""
        original = copy.deepcopy
        memos: list[dict[int, Any]] = []  # of the copies under way, the outermost first

        @wraps(original)
        def followed(value: Any, memo: dict[int, Any] | None = None, *rest: Any) -> Any:
            memo = {} if memo is None else memo
            is_outermost = not memos
            memos.append(memo)
            try:
                result = original(value, memo, *rest)
                if is_outermost and not self.is_watching:  # inside, modules are half made
                    for made in {id(one): one for one in memos}.values():
                        self.noted(self.note_copies, made)
            finally:
                if is_outermost:
                    memos.clear()
            return result

        copy.deepcopy = followed  # type: ignore[assignment]  # generic in its value
        try:
            with super().watching(root):
                yield
        finally:
            copy.deepcopy = original

    @contextmanager
    def forward(self, phase: Phase, words: str) -> Iterator[None]:
        """Make what runs inside one of the two forwards; in training, see what is written to."""
        if phase is not Phase.TRAIN:
            with super().forward(phase, words):
                yield
            return
        self.memory = ForwardMemory()
        with super().forward(phase, words):
            yield
        self.noted(self.memory.close, self._buffers)

    def _buffers(self) -> Iterator[Tensor]:
        for notes in self.modules.values():
            yield from (item for _, item in notes.module.named_buffers(recurse=False))

    def note_copies(self, copies: Mapping[int, Any]) -> None:
        """Note what a deep copy made: id of an original -> its copy."""
        for key, copied in list(copies.items()):
            known = self.modules.get(key)
            if known is None or not isinstance(copied, nn.Module) or id(copied) in self.modules:
                continue
            known.built_under += tuple(self.stack)  # an edit of the original comes after the copy
            parameters = list(copied.parameters())
            self.keep += parameters
            self.modules[id(copied)] = ModuleNotes(
                module=copied,
                first_seen=known.first_seen,
                built_at=list(known.built_at),
                returned_at=list(known.returned_at),
                built_under=known.built_under,
                first_parameters=set(map(id, parameters)),
                is_late=known.is_late,
            )
        for notes in self.sites.values():
            made = [copies[key] for key in notes.new_parameters if key in copies]
            notes.new_parameters |= dict.fromkeys(map(id, made))
            self.keep += made

    def note_method(self, key: SiteKey, function: Callable[..., Any]) -> None:
        """Note the method of a module that an identity lacks."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, nn.Module):
            self.note_touched(key, owner, getattr(function, "__name__", ""))

    def note_question(
        self, key: SiteKey, function: Callable[..., Any], args: Sequence[Any]
    ) -> None:
        """Note that a forward asks a module what an identity would answer otherwise: its class."""
        call = self.sources[key[0]].sites[key[1]]
        asked = ast.unparse(call.args[0]) if isinstance(call, ast.Call) and call.args else ""
        if not self.is_watching or not isinstance(args[0], nn.Module) or asked == "self":
            return
        if function is type:
            is_other = True
        elif function is isinstance:
            is_other = isinstance(args[0], args[1]) and not isinstance(_IDENTITY, args[1])
        else:
            is_other = hasattr(args[0], args[1]) and args[1] not in self._attributes
        if is_other:
            name = "__class__" if function in (type, isinstance) else str(args[1])
            self.module_notes(args[0]).touched.setdefault(name)

    def unseen_module(self, function: Callable[..., Any]) -> nn.Module | None:
        """The module whose forward is called, or whose class has a `__call__` of its own."""
        if isinstance(function, nn.Module):
            return function if type(function).__call__ is not nn.Module.__call__ else None
        owner = getattr(function, "__self__", None)
        is_forward = getattr(function, "__name__", "") == "forward"
        return owner if is_forward and isinstance(owner, nn.Module) else None

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
            self.modules[id(result)].is_late = any(map(is_lazy, parameters))
            self.keep += parameters
        elif isinstance(result, nn.Parameter):
            self.sites[key].new_parameters[id(result)] = None
            self.keep.append(result)

    def is_tensor(self, value: object) -> bool:
        """Whether something is a tensor of torch."""
        return isinstance(value, Tensor)

    def array(self, tensor: Tensor) -> Any:
        """A tensor's values as an array, real numbers in double precision."""
        plain = tensor.detach().cpu().resolve_conj().resolve_neg()
        if plain.is_floating_point():  # NumPy lacks bfloat16
            plain = plain.to(torch.float64)
        return plain.numpy()

    def copied(self, tensor: Any) -> Tensor:
        """A copy of a tensor's values."""
        copy: Tensor = tensor.detach().clone()
        return copy

    def is_equal(self, one: Any, other: Any) -> bool:
        """Whether two tensors hold the same values; of a meta tensor nobody knows."""
        return not one.is_meta and torch.equal(one, other)

    def operands(
        self, function: object, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> Operands:
        """The tensors among the arguments; those that the outermost module is given live on."""
        found = super().operands(function, args, kwargs)
        if function is None and not self.running:
            self.memory.hold(tensor for tensor, _ in found.values())
        return found

    def node(self, tensor: Any) -> Node | None:
        """The autograd node of an operand in the training forward, which reads it."""
        if self.phase is not Phase.TRAIN:
            return None
        self.memory.read(tensor)
        return node_of(tensor)

    def note_values(
        self,
        notes: Notes,
        before: Operands,
        result: object,
        *,
        seen: Iterable[Any] = (),
        values: Mapping[str, Value] | None = None,
    ) -> None:
        """Note operands and outputs of a call; in training, also the memory they lie in."""
        super().note_values(notes, before, result, seen=seen, values=values)
        if self.phase is Phase.TRAIN:
            self.memory.note(notes, before, tensors_in(result, self.is_tensor))

    def nodes_of(self, outputs: Sequence[Any], before: Operands, seen: Iterable[Any]) -> list[Node]:
        """The autograd nodes of a call's outputs.

        Views also note what they show: a later write in place gives the view another node.
        """
        for tensor in outputs:
            if tensor._base is not None and tensor.grad_fn is not None:
                self.bases[tensor.grad_fn] = node_of(tensor._base)
        return [node for node in map(node_of, outputs) if node is not None]

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
        self.noted(self.note_parameter, key, name, result)
        return result

    def on_item(self, key: SiteKey, owner: Any, index: object) -> Any:
        """Evaluate `owner[index]`; note a parameter out of a list or dictionary."""
        result = super().on_item(key, owner, index)
        self.noted(self.note_parameter, key, str(index), result)
        return result

    def note_parameter(self, key: SiteKey, name: str, value: object) -> None:
        """Note what a forward reads, where it is a parameter."""
        if not self.is_watching or not isinstance(value, nn.Parameter):
            return
        notes = self.sites.get(key, Notes(callee=Callee.ATTRIBUTE, name=name))
        self.note_values(notes, {}, value)
        notes.calls[self.phase] += 1
        self.sites[key] = notes
        if id(value) in self.parameters:
            notes.parameters[self.parameters[id(value)]] = None

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
        self, tensor: Tensor, node: Node | None = None, *, check_range: bool = False
    ) -> Value:
        """Describe a tensor in plain data."""
        node = node if node is not None else tensor.grad_fn
        return Value(
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype),
            parameter=self.parameters.get(id(tensor)),
            producer=_producer(node),
            made_by=self.makers.get(id(tensor)),
            in_unit=check_range and _is_in_unit(tensor),
            masked=_is_masked(tensor),
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


def _producer(node: Node | None) -> str:
    """Name the operation that made a value, looked for below views and copies of it."""
    while node is not None and _MOVES.fullmatch(type(node).__name__) and node.next_functions:
        node = node.next_functions[0][0]
    return type(node).__name__ if node is not None else ""


def _is_in_unit(tensor: Tensor) -> bool:
    """Whether every value lies in [0, 1]; False where they cannot be asked."""
    return _holds(tensor, lambda values: ((values >= 0) & (values <= 1)).all())


def _is_masked(tensor: Tensor) -> bool:
    """Whether some values are -infinity, or so low that they stand for it."""
    return tensor.dim() > 1 and _holds(tensor, lambda values: values.min() < _MASKED)


def _holds(tensor: Tensor, test: Callable[[Tensor], Tensor]) -> bool:
    """Whether something is true of a tensor's values; False where they cannot be read."""
    if not tensor.is_floating_point() or tensor.numel() == 0 or tensor.is_meta:
        return False
    with torch.no_grad(), suppress(RuntimeError):  # sparse, of 8 bits, or batched by vmap
        return bool(test(tensor))
    return False
