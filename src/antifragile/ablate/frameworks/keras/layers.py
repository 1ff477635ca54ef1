"""The layers and variables of a Keras 3 model, by the path that leads to them; types of tensors.

Layers are found by the attributes that hold them; those of a Sequential or functional model by the
names that the user gave them, else by their order. Names that Keras makes up do not tell layers
apart: it numbers them globally, one layer less would rename the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from antifragile._optional import require
from antifragile.ablate.frameworks.keras.order import number_of
from antifragile.ablate.trace.nested import Named, walk

_UNNAMED = re.compile(r"variable(_\d+)?")


class _Keras:
    """The package, imported when first used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(require("keras", extra="keras", purpose="ablating a Keras model"), name)


keras: Any = _Keras()


def layers_by_path(model: Any) -> Iterator[Named]:
    """Every layer below a model, itself first as ""; one with several names comes several times."""

    def below(path: str, layer: Any) -> list[Named]:
        return [(f"{path}.{name}" if path else name, child) for name, child in children_of(layer)]

    return walk("", model, below)


def children_of(layer: Any) -> list[Named]:
    """The layers that a layer holds: by place in a graph or stack, by attribute, or hidden."""
    found: list[Named] = []
    if is_graph(layer):
        is_stack = isinstance(layer, keras.Sequential)
        found += [
            (path_in_graph(item, index if is_stack else number_of(item)), item)
            for index, item in enumerate(layer.layers)
        ]
    known = {id(item) for _, item in found}
    attributes = vars(layer) | vars(layer).get("_modules", {})  # the torch back end's own table
    for name, value in attributes.items():
        if not name.startswith("_"):
            found += [pair for pair in _held(name, value) if id(pair[1]) not in known]
    known = {id(item) for _, item in found}
    if isinstance(layer, keras.Sequential):  # it also holds itself as a functional model
        return found
    hidden = enumerate(getattr(layer, "_layers", ()))
    return found + [(f"_layers[{n}]", item) for n, item in hidden if id(item) not in known]


def is_graph(layer: Any) -> bool:
    """Whether a layer is a functional or Sequential model."""
    return isinstance(layer, keras.Sequential | keras.src.models.Functional)


def path_in_graph(layer: Any, number: int | None) -> str:
    """The path of a layer in a Sequential or functional model: its name if the user gave it one."""
    if is_named_by_user(layer):
        return layer.name if layer.name.isidentifier() else f"layers[{layer.name!r}]"
    return f"layers[{layer.name!r}]" if number is None else f"layers[{number}]"


def is_named_by_user(layer: Any) -> bool:
    """Whether a layer's name is none of those that Keras makes up from its class."""
    made_up = keras.src.utils.naming.to_snake_case(type(layer).__name__)
    return re.fullmatch(rf"{made_up}(_\d+)?", layer.name) is None


def titles_by_path(model: Any) -> dict[str, str]:
    """The path of each layer with the names that `summary` shows in place of numbers."""
    titles = {"": ""}
    for path, layer in layers_by_path(model):
        for name, child in children_of(layer):
            shown = child.name if name.startswith("layers[") else name
            below = f"{path}.{name}" if path else name
            titles[below] = f"{titles[path]}.{shown}" if titles[path] else shown
    return titles


def _held(name: str, value: Any) -> Iterator[Named]:
    if isinstance(value, keras.Layer):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _held(f"{name}[{key!r}]", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _held(f"{name}[{index}]", item)


def own_variables(layer: Any) -> Iterator[tuple[str, Any, bool]]:
    """A layer's own variables: name, variable, whether it is a parameter (frozen or not)."""
    own = [(variable, True) for variable in layer._trainable_variables]
    own += [(variable, False) for variable in layer._non_trainable_variables]
    own += [(generator.state, False) for generator in layer._seed_generators]
    seen: set[str] = set()
    for number, (variable, learns) in enumerate(own):
        is_unclear = _UNNAMED.fullmatch(variable.name) or variable.name in seen
        seen.add(variable.name)
        yield (f"weight_{number}" if is_unclear else variable.name), variable, learns


def variables_by_path(model: Any) -> Iterator[tuple[str, Any, bool]]:
    """Every variable below a model: path, variable, whether it is a parameter."""
    for path, layer in layers_by_path(model):
        for name, variable, learns in own_variables(layer):
            yield (f"{path}.{name}" if path else name), variable, learns


def type_of(tensor: Any) -> str:
    """The type of a tensor's elements, as in "float32"."""
    return str(keras.backend.standardize_dtype(tensor.dtype))


def is_floating(tensor: Any) -> bool:
    """Whether a tensor holds real numbers."""
    return "float" in type_of(tensor)
