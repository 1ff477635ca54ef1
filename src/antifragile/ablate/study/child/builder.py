"""The ``build_model`` of an experiment: a variant that starts from the baseline's initial values.

initial values    the baseline is built under the seed in a child of its own; the variant is
built under the same seed, then every tensor that the baseline has under the
same name and shape is copied over. So what survives starts the same whatever
the variant draws, and the author's own initialisation stays in force. Where
the initialisation is what is ablated, its parameters keep the variant's own.
stream after it   building leaves the global streams where a variant with fewer parameters
leaves them too, so that it does not shift what is drawn later.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from antifragile._files import write_atomically
from antifragile.ablate.frameworks.adapter import Adapter
from antifragile.ablate.frameworks.arrays import Array
from antifragile.ablate.generation.emit import needed_files
from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.loading import Refusal, stage
from antifragile.ablate.source.opened import building
from antifragile.ablate.source.project import entry_function, module_name
from antifragile.ablate.trace.calls import read_call

State = dict[str, Array]


class PairedBuilder:
    """The ``build_model`` that an experiment is handed.

    Args:
        project: The project whose build function is called.
        adapter: Adapter of the model's framework.
        seed: Seed of the initial values.
        start: The baseline's initial values under that seed; None for the baseline itself.
    """

    def __init__(self, project: Project, adapter: Adapter, seed: int, start: State | None) -> None:
        self._project, self._adapter = project, adapter
        self._seed, self._start = seed, start
        self._builds_late = adapter.builds_late  # of all models; a lazy layer shows itself later
        self._own = {module_name(project, file) for file in needed_files(project)}
        self._built: Any = None

    def __call__(self) -> Any:
        """Build the model; what survives starts from the baseline's values."""
        entry, adapter = self._project.build, self._adapter
        words = f"{entry.function}() of {entry.file}"
        with stage(words), building(), adapter.streams_untouched():
            build = entry_function(self._project, entry)
            run = self._first_call() if self._builds_late else None
            adapter.seed_run(self._seed)
            model = build()
            adapter.check(model, words)
            adapter.prepare(model, lambda: (run or self._first_call())(model))
        if self._start is not None:
            adapter.set_tensors(model, self._start)
        self._built = model
        return model

    def _first_call(self) -> Callable[[Any], Any]:
        """The call at which a model's layers create their weights: on the inputs, or a step."""
        inputs, step, adapter = self._project.inputs, self._project.step, self._adapter
        if inputs is None:
            assert step is not None
            return entry_function(self._project, step)
        found = entry_function(self._project, inputs)()
        source = f"{inputs.function}() of {inputs.file}"
        call = read_call(found, source, dict_is_one_input=adapter.dict_is_one_input)
        return partial(adapter.forward, call=call, training=False, with_gradients=False)

    def last_state(self) -> State:
        """All tensors of the model that was built last."""
        if self._built is None:
            raise Refusal("the experiment never called build_model(), so there is no model to keep")
        tensors = self._adapter.tensors(self._built)
        return {path: value for path, value in tensors.items() if self._is_of_model(path)}

    def _is_of_model(self, path: str) -> bool:
        """Not a tensor at the top of another file, such as an experiment's data."""
        module = path.partition(":")[0]
        return module == path or module not in sys.modules or module in self._own


def save_state(state: State, path: Path) -> None:
    """Write a model's tensors, whole or not at all; tied ones once under each name."""
    content = save({name: np.require(value, requirements="C") for name, value in state.items()})
    write_atomically(path, content, durable=False)
