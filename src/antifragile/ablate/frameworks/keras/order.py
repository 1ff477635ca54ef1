"""Numbers of the layers of functional models, in the order in which they are first called.

A variant that leaves a branch out moves the later layers of `model.layers` up, and one that builds
another layer in a layer's place shifts the names that Keras makes up. Neither changes how often
layers are called while the model is built, so this order tells which layer is which. Merging layers
are left out: they hold no weights, and a variant may do without them.
"""

from __future__ import annotations

import importlib
from functools import wraps
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from antifragile._optional import require

_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_next = count(-1, -1)  # before the first build: layers that a file makes when it is imported


def count_layers() -> None:
    """Number each layer at its first call on a symbol, from now on."""
    require("keras", extra="keras", purpose="ablating a Keras model")
    node = importlib.import_module("keras.src.ops.node").Node
    if getattr(node.__init__, "counts_layers", False):
        return
    layer = importlib.import_module("keras").Layer
    merge = importlib.import_module("keras.src.layers.merging.base_merge").Merge
    entry = importlib.import_module("keras").layers.InputLayer
    state = importlib.import_module("keras.src.backend.common.global_state")
    original = node.__init__

    @wraps(original)
    def counted(self: Any, operation: Any, *args: Any, **kwargs: Any) -> None:
        is_plain = isinstance(operation, layer) and not isinstance(operation, merge | entry)
        is_inside = state.get_global_attribute("current_call_ctx") is not None  # another layer
        if is_plain and not is_inside and operation not in _numbers:
            _numbers[operation] = next(_next)
        original(self, operation, *args, **kwargs)

    counted.counts_layers = True  # type: ignore[attr-defined]  # a mark on a function
    node.__init__ = counted


def start_anew() -> None:
    """Begin with number 0 again: another model is built."""
    global _next
    _next = count()


def number_of(layer: Any) -> int | None:
    """The number of a layer, if it was called while a functional model was built."""
    return _numbers.get(layer)
