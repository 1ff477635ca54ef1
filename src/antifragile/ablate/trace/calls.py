"""The call of a model: positional and keyword inputs, read from what the user's `inputs()` returns.

    a tensor, an array, one object  ->  model(value)
    a tuple or a list               ->  model(*value)
    a dictionary of keywords        ->  model(**value); to Keras it is one input: model(value)
    (args, kwargs)                  ->  model(*args, **kwargs); a tuple or list, and a dictionary

So `({"a": x},)` is one input that is a dictionary, `(x, {"mask": m})` are two, and
`((x,), {"mask": m})` is `x` with a keyword. A list is never (args, kwargs): `[[x], {"mask": m}]`
are two inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from antifragile.ablate.sandbox.loading import Refusal, kind_of
from antifragile.ablate.trace.nested import tensors_in

ACCEPTED = "a tensor, a tuple of inputs, a dictionary of keywords, or (args, kwargs)"
_NO_INPUTS = (str, bytes, bool, int, float, complex, Set, Iterator)


@dataclass(frozen=True, kw_only=True)
class Call:
    """The inputs of one call.

    Args:
        args: Positional ones.
        kwargs: Those by keyword.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, Any]:
        """All inputs by position ("0", "1") or keyword."""
        return {**{str(place): item for place, item in enumerate(self.args)}, **self.kwargs}

    def of(self, function: Callable[..., Any], *first: object, **options: object) -> Any:
        """Call a function with the inputs.

        Args:
            function: The function or model.
            first: Arguments before the inputs.
            options: Keywords after them.
        """
        return function(*first, *self.args, **{**self.kwargs, **options})

    def output_of(self, model: Callable[..., Any], **options: object) -> Any:
        """Call a model; one that yields its outputs has run to its end."""
        output = self.of(model, **options)
        return tuple(output) if isinstance(output, Iterator) else output

    def changed(self, is_leaf: Callable[[Any], bool], change: Callable[[Any], Any]) -> Call:
        """Copy the inputs deeply; `change` makes the copy of every leaf, wherever it lies."""
        leaves = {id(leaf): leaf for leaf in tensors_in(self.named, is_leaf, in_objects=True)}
        memo = {key: change(leaf) for key, leaf in leaves.items()}
        return Call(
            args=tuple(_copied(item, memo) for item in self.args),
            kwargs={name: _copied(item, memo) for name, item in self.kwargs.items()},
        )


def read_call(found: object, source: str, *, dict_is_one_input: bool = False) -> Call:
    """Read what the user's `inputs()` returned.

    Args:
        found: The return value.
        source: Where it came from: "inputs() of model.py".
        dict_is_one_input: Whether a dictionary is one positional input instead of keywords.

    Raises:
        Refusal: It is none of the forms above.
    """
    if isinstance(found, tuple) and len(found) == 2 and _is_sequence(found[0]):
        args, kwargs = found
        if isinstance(kwargs, Mapping) and _are_keywords(kwargs):
            return Call(args=tuple(args), kwargs=dict(kwargs))
    if _is_sequence(found):
        return Call(args=tuple(found))  # type: ignore[arg-type]  # a tuple or a list
    if isinstance(found, Mapping) and not dict_is_one_input:
        return Call(kwargs=_keywords(found, source))
    if found is None or isinstance(found, _NO_INPUTS) or callable(found):
        raise Refusal(f"{source} must return {ACCEPTED}; got {kind_of(found)}")
    return Call(args=(found,))


def _keywords(found: Mapping[Any, Any], source: str) -> dict[str, Any]:
    if not _are_keywords(found):
        other = next(key for key in found if not isinstance(key, str))
        raise Refusal(
            f"{source} must return {ACCEPTED}; got a dictionary with the key {other!r}, which is "
            "no keyword; if it is one input, return it in a tuple"
        )
    return dict(found.items())


def _is_sequence(value: object) -> bool:
    """Whether something lists inputs; a named tuple is one object."""
    return isinstance(value, tuple | list) and not hasattr(value, "_fields")


def _are_keywords(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in value)


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """Copy deeply; what cannot be copied (a lock, a file) is handed on as it is."""
    try:
        return copy.deepcopy(value, memo)
    except MemoryError:
        raise
    except Exception:
        return value
