"""Build the model of a command as the command does, and read the inputs of its first training call.

The script, or the cells of a notebook, run up to the first call of the model in training mode,
which ends them. One of several processes runs as one of one.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import socket
import sys
import tempfile
import types
from typing import Any

import torch

SCRIPT: str = ""  # its path from this file's folder, or the name of its module
IS_MODULE: bool = False
CELLS: list[str] = []  # of a notebook, in place of a script
WORDS: list[str] = []  # its arguments; {out} is a folder
FOLDER: str = "."  # where it runs, from this file's folder
VARIABLES: dict[str, str] = {}  # of the environment; {out} is the same folder
MODEL: str = ""  # class of the model
INPUTS: str = ""  # file of the inputs, beside this one; empty where they are what the script makes

_HERE = os.path.dirname(os.path.abspath(__file__))


class _Reached(BaseException):
    """Ends the script; no `except Exception` of its own holds it back."""


def build() -> Any:
    """Return the model, untrained."""
    return _first_call()[0]


def inputs() -> Any:
    """Return the arguments of its first call in training: a list, and a dictionary of keywords."""
    if not INPUTS:
        return _first_call()[1:]
    from safetensors import safe_open

    with safe_open(os.path.join(_HERE, INPUTS), "pt") as file:
        form = json.loads(file.metadata()["form"])
        args, kwargs = _formed(form, [file.get_tensor(str(i)) for i in range(len(file.keys()))])
    return args, kwargs


def _formed(form: Any, tensors: list[Any]) -> Any:
    """Put tensors into lists, tuples and dictionaries again."""
    [(kind, value)] = form.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: _formed(item, tensors) for key, item in value.items()}
    if kind in ("list", "tuple"):
        items = [_formed(item, tensors) for item in value]
        return items if kind == "list" else tuple(items)
    return value


def _first_call() -> tuple[Any, list[Any], dict[str, Any]]:
    """Run the script up to the first training call of the model: it, and its arguments."""
    found: list[Any] = []
    plain = torch.nn.Module.__call__

    def call(module: Any, *args: Any, **kwargs: Any) -> Any:
        name = f"{type(module).__module__}.{type(module).__qualname__}"
        if name == MODEL and module.training and torch.is_grad_enabled() and not found:
            found.extend([module, list(args), kwargs])
            raise _Reached
        return plain(module, *args, **kwargs)

    argv, folder, path, main = sys.argv[:], os.getcwd(), sys.path[:], sys.modules.get("__main__")
    variables, out = dict(os.environ), tempfile.mkdtemp()
    os.environ.update({name: value.replace("{out}", out) for name, value in VARIABLES.items()})
    os.environ.update(_alone(), TORCHDYNAMO_DISABLE="1")
    os.chdir(os.path.normpath(os.path.join(_HERE, FOLDER)))
    torch.nn.Module.__call__ = call  # type: ignore[method-assign]
    try:
        if CELLS:
            _run_cells(found)
        else:
            _run_script([word.replace("{out}", out) for word in WORDS])
    except _Reached:
        pass
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        torch.nn.Module.__call__ = plain  # type: ignore[method-assign]
        os.chdir(folder)
        sys.argv[:], sys.path[:] = argv, path
        os.environ.clear()
        os.environ.update(variables)
        if main is not None:
            sys.modules["__main__"] = main
    if not found:
        raise RuntimeError(f"the command ended without a training call of {MODEL}")
    return found[0], found[1], found[2]


def _alone() -> dict[str, str]:
    """Variables that make one of several processes one of one."""
    if "WORLD_SIZE" not in VARIABLES:
        return {}
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    numbers = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    return {**numbers, "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}


def _run_script(words: list[str]) -> None:
    """Run the script as Python would, through the import system."""
    script = SCRIPT if IS_MODULE else os.path.normpath(os.path.join(_HERE, SCRIPT))
    sys.path.insert(0, os.getcwd() if IS_MODULE else os.path.dirname(script))
    sys.argv[:] = [script, *words]
    name = script if IS_MODULE else os.path.splitext(os.path.basename(script))[0]
    spec = importlib.util.find_spec(name)
    if spec is None and not IS_MODULE:  # a program without .py
        loader = importlib.machinery.SourceFileLoader("__main__", script)
        spec = importlib.util.spec_from_loader("__main__", loader)
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no script {script}")
    module = importlib.util.module_from_spec(spec)
    module.__name__ = "__main__"
    if hasattr(spec.loader, "name"):
        spec.loader.name = "__main__"  # so that the loader runs it under that name
    sys.modules["__main__"] = module
    spec.loader.exec_module(module)


def _run_cells(found: list[Any]) -> None:
    """Run the cells of a notebook, up to the one that calls the model."""
    plain: Any = importlib.import_module("IPython.core.interactiveshell").InteractiveShell
    settings: Any = importlib.import_module("traitlets.config").Config
    without_windows = {"enable_gui": lambda self, gui=None: None}  # as %matplotlib asks for
    shell_of: Any = type("Shell", (plain,), without_windows)
    sys.path.insert(0, "")  # as a kernel has it: the folder that the cells are in
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    plain.clear_instance()
    config = settings({"HistoryManager": {"enabled": False}})
    shell = shell_of.instance(config=config, user_module=main)
    shell.set_custom_exc((_Reached,), lambda *_, **__: None)
    for cell in CELLS:
        ended = shell.run_cell(cell)
        if found:
            return
        ended.raise_error()
