"""Start-up hook of Python: begins to watch a run, then hands on to the hook that would have run.

Python imports the first ``sitecustomize`` on its path, which a run's PYTHONPATH makes this one.
"""

import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = "antifragile.ablate.command.startup"
_FILES = (
    "__init__",
    "notes",
    "fence",
    "seeding",
    "pairing",
    "preview",
    "watch",
)  # each imports earlier ones


def _begin() -> None:
    """Begin to watch, by this folder's files alone: the rest of the package stays out.

    Python takes a module that is there by its full name without importing what stands above it.
    """
    names = [f"{_PACKAGE}.{file}" if file != "__init__" else _PACKAGE for file in _FILES]
    for name, file in zip(names, _FILES, strict=True):
        place = os.path.join(_HERE, f"{file}.py")
        spec = importlib.util.spec_from_file_location(name, place)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place} is no module of Python")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        setattr(sys.modules[_PACKAGE], file, module)
        spec.loader.exec_module(module)
    module.begin()
    for name in names:
        del sys.modules[name]


def _hand_on() -> None:
    """Run the next ``sitecustomize`` on the path, if there is one."""
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or os.curdir) != _HERE]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        importlib.import_module("sitecustomize")
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
        if ours is not None:
            sys.modules["sitecustomize"] = ours


if os.environ.get("ANTIFRAGILE_RUN"):
    _begin()
_hand_on()
