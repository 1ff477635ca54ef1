"""A preview of a command: it runs for a few steps, and says which model it trains and how.

The model is what the script calls first in training mode, outermost, with gradients and parameters;
wrappers of torch's own (compiled, data parallel) are looked into.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from antifragile.ablate.command.startup.notes import WatchedRun

_OF_AGENTS = ("TORCHELASTIC_", "JPY_")  # by which a launcher and its processes find each other


def begin(run: WatchedRun, torch: Any) -> None:
    """Watch the first training call and the steps after it; end the process after these.

    Args:
        run: The run.
        torch: The module, just imported.
    """
    if os.environ.get("RANK", "0") != "0":
        return  # the first of several processes shows what they train
    preview = _Preview(run, torch)
    plain = torch.nn.Module.__call__

    def call(model: Any, *args: Any, **kwargs: Any) -> Any:
        if preview.model is None and torch.is_grad_enabled() and model.training:
            preview.look(model, args, kwargs)
        return plain(model, *args, **kwargs)

    torch.nn.Module.__call__ = call
    sys.modules["torch.optim.optimizer"].register_optimizer_step_post_hook(preview.after_step)


class _Preview:
    """The part of a training that was seen so far."""

    def __init__(self, run: WatchedRun, torch: Any) -> None:
        self._run, self._torch = run, torch
        self._arguments = sys.argv[1:]  # before the script changes them
        self._times: list[float] = []
        self._has_inputs = False
        self.model: Any = None

    def look(self, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Take a model that is called in training mode, if it has parameters."""
        wrapped = _unwrapped(model)
        if not any(p.requires_grad for p in wrapped.parameters()):
            return
        self.model = wrapped
        tensors: list[Any] = []
        try:
            form = self._form((list(args), dict(kwargs)), tensors)
        except TypeError:
            return  # an object of the user's: the script has to make it
        self._save(form, tensors)

    def _form(self, value: Any, tensors: list[Any]) -> dict[str, Any]:
        """Describe nested inputs, whose tensors are put into the list.

        Raises:
            TypeError: They hold something else than tensors, numbers, texts and containers.
        """
        if isinstance(value, self._torch.Tensor):
            tensors.append(value.detach().cpu().clone().contiguous())
            return {"tensor": len(tensors) - 1}
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {"dict": {key: self._form(item, tensors) for key, item in value.items()}}
        if type(value) in (list, tuple):
            items = [self._form(item, tensors) for item in value]
            return {"list" if isinstance(value, list) else "tuple": items}
        if value is None or type(value) in (bool, int, float, str):
            return {"value": value}
        raise TypeError(type(value).__name__)

    def _save(self, form: dict[str, Any], tensors: list[Any]) -> None:
        try:
            from safetensors.torch import save_file
        except ImportError:
            return
        named = {str(number): tensor for number, tensor in enumerate(tensors)}
        path = os.path.join(self._run.preview, "inputs.safetensors")
        save_file(named, path, metadata={"form": json.dumps(form)})
        self._has_inputs = True

    def after_step(self, *_: Any) -> None:
        """Note the time of a step; after the last one write what was seen, and end."""
        if self.model is None:
            return
        self._times.append(time.perf_counter())
        if len(self._times) > self._run.preview_steps:
            path = os.path.join(self._run.preview, "preview.json")
            with suppress(FileExistsError), open(path, "x", encoding="utf-8") as file:
                file.write(json.dumps(self._seen()) + "\n")  # whose end is waited for
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    def _seen(self) -> dict[str, Any]:
        main = sys.modules["__main__"]
        file = getattr(main, "__file__", None)
        kinds = [type(module) for module in self.model.modules()]
        files = (getattr(sys.modules.get(kind.__module__), "__file__", None) for kind in kinds)
        spec = getattr(main, "__spec__", None)
        return {
            "script": os.path.realpath(file) if file else "",
            "module": spec.name if spec is not None else "",
            "cells": [] if file else [cell for cell in getattr(main, "In", ()) if cell],
            "folder": self._run.folder,
            "arguments": self._arguments if file else [],
            "variables": {
                name: value
                for name, value in self._run.variables.items()
                if not name.startswith(_OF_AGENTS)
            },
            "model": f"{type(self.model).__module__}.{type(self.model).__qualname__}",
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "files": sorted({os.path.realpath(file) for file in files if file}),
            "has_inputs": self._has_inputs,
            "seconds": [b - a for a, b in zip(self._times, self._times[1:], strict=False)],
        }


def _unwrapped(model: Any) -> Any:
    """The model in wrappers of torch's own: compiled, data parallel, averaged."""
    for _ in range(8):
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if inner is None or not type(model).__module__.startswith("torch."):
            return model
        model = inner
    return model
