"""Pairing: a variant's models start from the initial values of the baseline of the same seed.

built by a class of the user's   instances are paired by class and order of construction. The
baseline keeps the values of each when its constructor returns, and the states of the global
streams then; a variant takes both: every tensor of the same name and shape, but those whose
initial values are what is ablated. A checkpoint that is loaded afterwards is loaded in both.

several processes of one training   the first keeps its values and streams; the others of a variant
take its values alone, since each has streams of its own.

first step of an optimizer   the baseline notes a hash of every parameter before the update; a
variant compares its own, so that what else makes them differ is seen.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import random
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from antifragile.ablate.command.startup.notes import WatchedRun

STREAMS = "streams"  # prefix of the states of the global streams


def begin(run: WatchedRun, torch: Any) -> None:
    """Watch the construction of models and the first step of an optimizer.

    Args:
        run: The run.
        torch: The module, just imported.
    """
    pairs = _Pairs(run, torch)

    def init_subclass(cls: Any, /, **named: Any) -> None:
        super(torch.nn.Module, cls).__init_subclass__(**named)  # of mixins after it
        if "__init__" in vars(cls):
            cls.__init__ = pairs.watched(cls.__init__)

    torch.nn.Module.__init_subclass__ = classmethod(init_subclass)
    for cls in _subclasses(torch.nn.Module):  # in a fork some are there
        if "__init__" in vars(cls) and not cls.__module__.startswith("torch."):
            cls.__init__ = pairs.watched(cls.__init__)
    if run.starts:
        _allow_unused_parameters(torch.nn.parallel.DistributedDataParallel)
    optimizers = sys.modules["torch.optim.optimizer"]
    add_hook = optimizers.register_optimizer_step_pre_hook
    handle: Any = add_hook(lambda *_: pairs.before_first_step(handle))


def _subclasses(cls: Any) -> list[Any]:
    """All classes below a class, each once."""
    found: dict[Any, None] = {}
    left = [cls]
    while left:
        below = [one for one in type.__subclasses__(left.pop()) if one not in found]
        found |= dict.fromkeys(below)
        left += below
    return list(found)


class _Pairs:
    """The models that the user's classes have built so far."""

    def __init__(self, run: WatchedRun, torch: Any) -> None:
        self._run, self._torch = run, torch
        self._depth = threading.local()
        self._counts: Counter[str] = Counter()
        self._models: dict[str, Any] = {}
        self._kept: dict[str, Any] = {}
        self._own = set(run.own_values)
        self._rank = _rank()

    def watched(self, construct: Callable[..., None]) -> Callable[..., None]:
        """Wrap a constructor: the outermost one of a model is followed by the pairing."""

        @functools.wraps(construct)
        def init(model: Any, *arguments: Any, **named: Any) -> None:
            depth = getattr(self._depth, "now", 0)
            self._depth.now = depth + 1
            try:
                construct(model, *arguments, **named)
            finally:
                self._depth.now = depth
            if not depth and self._is_users(type(model)):
                self._pair(model)

        return init

    def _is_users(self, kind: type) -> bool:
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if file is None:
            return kind.__module__ == "__main__"  # a notebook's
        return self._run.is_users(file)

    def _pair(self, model: Any) -> None:
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        name = f"{kind}#{self._counts[kind]}"
        self._counts[kind] += 1
        tensors = self._tensors(model)
        if not tensors:  # a loss or a transform; or nothing is there yet (meta, lazy)
            return
        self._models[name] = model
        if self._run.saves and not self._rank:
            streams = {f"{STREAMS}.{key}": value for key, value in self._streams().items()}
            for key, value in (tensors | streams).items():
                self._kept[f"{name}.{key}"] = value.clone()
            _save(self._run.saves, self._kept)
        if self._run.starts:
            self._start(model, name, tensors)

    def _start(self, model: Any, name: str, tensors: dict[str, Any]) -> None:
        """Load the baseline's values into a model that was just built."""
        baseline = _load(self._torch, self._run.starts, f"{name}.")
        with self._torch.no_grad():
            for key, value in tensors.items():
                start = baseline.get(key)
                if start is not None and _alike(start, value) and not self._is_own(key):
                    value.copy_(start)
        streams = {
            key.removeprefix(f"{STREAMS}."): value
            for key, value in baseline.items()
            if key.startswith(f"{STREAMS}.")
        }
        if streams and not self._rank:
            self._set_streams(streams)
        if self._run.stream is not None:
            self._seed_streams(self._run.stream + self._rank)

    def _is_own(self, key: str) -> bool:
        """Whether a parameter, of a model or of one inside it, keeps this run's own values."""
        return any(key == own or key.endswith(f".{own}") for own in self._own)

    def _tensors(self, model: Any) -> dict[str, Any]:
        found = {}
        for key, value in model.state_dict(keep_vars=True).items():
            is_there = isinstance(value, self._torch.Tensor) and not value.is_meta
            if is_there and not self._torch.nn.parameter.is_lazy(value):
                found[key] = value.detach()
        return found

    # --- the first step ------------------------------------------------------------------------

    def before_first_step(self, handle: Any) -> None:
        """Note hashes of all parameters, or compare them with the baseline's."""
        handle.remove()
        self._kept.clear()
        for name, model in self._models.items():
            parameters = dict(model.named_parameters())  # a forward has moved running statistics
            tensors = self._tensors(model).items()
            hashes = {key: _hash(value) for key, value in tensors if key in parameters}
            self._run.note("first step", model=name, hashes=hashes)
        if not self._models:
            self._run.note("first step", model="", hashes={})

    # --- global streams ------------------------------------------------------------------------

    def _streams(self) -> dict[str, Any]:
        torch = self._torch
        state = json.dumps(random.getstate()).encode()
        found = {"torch": torch.get_rng_state(), "random": _bytes(torch, state)}
        if "numpy" in sys.modules:
            kind, keys, *rest = sys.modules["numpy"].random.get_state()
            text = json.dumps([kind, keys.tolist(), *rest]).encode()
            found["numpy"] = _bytes(torch, text)
        return found

    def _seed_streams(self, seed: int) -> None:
        random.seed(seed)
        self._torch.default_generator.manual_seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.mtrand._rand.seed(seed % 2**32)

    def _set_streams(self, streams: dict[str, Any]) -> None:
        self._torch.set_rng_state(streams["torch"])
        version, internal, gauss = json.loads(bytes(streams["random"].tolist()))
        random.setstate((version, tuple(internal), gauss))
        if "numpy" in streams and "numpy" in sys.modules:
            numpy = sys.modules["numpy"]
            kind, keys, *rest = json.loads(bytes(streams["numpy"].tolist()))
            numpy.random.set_state((kind, numpy.array(keys, dtype="uint32"), *rest))


def _rank() -> int:
    """The number of this process among those of one training."""
    text = os.environ.get("RANK", "0")
    return int(text) if text.isdecimal() else 0


def _allow_unused_parameters(parallel: Any) -> None:
    """Let torch's DistributedDataParallel train a variant that leaves some parameters unused.

    It fails otherwise, in the second step; that it looks for them changes no gradient.
    """
    construct = parallel.__init__
    signature = inspect.signature(construct)

    @functools.wraps(construct)
    def init(*arguments: Any, **named: Any) -> None:
        given = signature.bind(*arguments, **named)
        if not given.arguments.get("static_graph"):  # which allows it
            given.arguments["find_unused_parameters"] = True
        construct(*given.args, **given.kwargs)

    parallel.__init__ = init


def _bytes(torch: Any, content: bytes) -> Any:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _alike(start: Any, value: Any) -> bool:
    return bool(start.shape == value.shape and start.dtype == value.dtype)


def _hash(tensor: Any) -> str:
    """The shape of a tensor and a hash of its bytes."""
    shape = "x".join(map(str, tensor.shape)) or "-"
    return f"{shape} {hashlib.blake2b(_content(tensor), digest_size=16).hexdigest()}"


def _content(tensor: Any) -> bytes:
    """The bytes of a tensor's elements."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if not flat.numel():
        return b""
    content: bytes = flat.view(torch.uint8).numpy().tobytes()
    return content


_CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


def _save(path: str, tensors: dict[str, Any]) -> None:
    """Write tensors in the format of safetensors, which the user need not have installed."""
    header, parts, at = {}, [], 0
    for name, tensor in tensors.items():
        code = _CODES.get(str(tensor.dtype).removeprefix("torch."))
        if code is None:
            continue
        content = _content(tensor)
        offsets = [at, at + len(content)]
        header[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": offsets}
        parts.append(content)
        at += len(content)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head + b"".join(parts))


def _load(torch: Any, path: str, prefix: str) -> dict[str, Any]:
    """Read the tensors whose names begin so, without the beginning."""
    types = {code: getattr(torch, name) for name, code in _CODES.items()}
    found = {}
    with open(path, "rb") as file:
        [size] = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        for name, entry in header.items():
            if not name.startswith(prefix):
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + size + begin)
            content = bytearray(file.read(end - begin))
            dtype = types[entry["dtype"]]
            flat = (
                torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            )
            found[name.removeprefix(prefix)] = flat.reshape(entry["shape"])
    return found
