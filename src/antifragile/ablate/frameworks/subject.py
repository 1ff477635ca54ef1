"""The user's functions in one folder, loaded in a child process, and one run of their model.

A run builds the model anew, copies given values in, and goes forward in both modes and backward;
the results are an `Observation` in plain arrays. `ModelCode` is made in the parent and sent to the
child; all else here runs in children only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from antifragile.ablate.frameworks.arrays import Array, GradientArrays, Leaves
from antifragile.ablate.frameworks.other_inputs import NO_INPUTS
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.job import Job
from antifragile.ablate.sandbox.loading import Refusal, hide, load_function, stage
from antifragile.ablate.source.project import module_name
from antifragile.ablate.trace.calls import Call, read_call

if TYPE_CHECKING:  # it imports torch, which the parent does without
    from antifragile.ablate.frameworks.adapter import Adapter

MODES = ("evaluation", "training")
SEED, OTHER_SEED = 20, 21  # for what build draws
_INPUT_SEED, _RUN_SEED = 22, 23

CodeFields = Mapping[str, Any]  # `asdict` of a ModelCode, as a child receives it
_Arguments = ParamSpec("_Arguments")


@dataclass(frozen=True, kw_only=True)
class ModelCode:
    """A model's functions in one folder, and the framework they use.

    Args:
        folder: The folder.
        framework: Name of the framework.
        functions: File, function and module name of ``build``, ``inputs`` and perhaps ``step``.
        paths: First folders of the import path.
        hidden: Packages that the user's code must not need.
        copied_from: Folders that a child copies into `folder` before it runs (see `Job`).
        writable: Further folders in which it may write.
    """

    folder: str
    framework: str
    functions: Mapping[str, Sequence[str]]
    paths: Sequence[str]
    hidden: Sequence[str] = ()
    copied_from: Sequence[str] = ()
    writable: Sequence[str] = ()

    @property
    def script(self) -> str:
        """The file that the user would run: it is the first word of a command line."""
        return str(Path(self.folder, self.functions["build"][0]))

    @classmethod
    def in_folder(
        cls, project: Project, folder: Path, framework: str, hidden: Sequence[str] = ()
    ) -> ModelCode:
        """Locate a project's functions in a copy of its files."""
        functions = {
            role: (entry.file, entry.function, module_name(project, entry.file))
            for role, entry in project.entries.items()
        }
        paths = tuple(str((folder / path).resolve()) for path in project.search_paths)
        return cls(
            folder=str(folder),
            framework=framework,
            functions=functions,
            paths=paths,
            hidden=tuple(hidden),
        )

    def job(
        self,
        target: Callable[Concatenate[CodeFields, _Arguments], object],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> Job:
        """Prepare a call of `target` with the fields of this record before other arguments."""
        call = inspect.signature(target).bind(asdict(self), *args, **kwargs)
        return Job(
            target=target,
            folder=self.folder,
            paths=tuple(self.paths),
            arguments=call.arguments,
            script=self.script,
            copied_from=tuple(self.copied_from),
            writable=tuple(self.writable),
        )


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Results of one model on one set of weights.

    Args:
        outputs: By mode; "loss" where the user named a step.
        signature: Structure, shapes and types of the outputs, a line each.
        gradients: By name, None where there is none; empty where no backward pass was asked for.
        inputs: The inputs after the run.
        parameters: Number of elements of each parameter, by name.
        stream_digest: State of the random streams after build.
        unit: Relative spacing of the coarsest floating type.
    """

    outputs: dict[str, Leaves]
    signature: list[str]
    gradients: GradientArrays
    inputs: Leaves
    parameters: dict[str, int]
    stream_digest: str
    unit: float

    @property
    def parts(self) -> dict[str, Leaves]:
        """Everything in it that can be compared, by part."""
        gradients = {name: value for name, value in self.gradients.items() if value is not None}
        return {**self.outputs, "inputs": self.inputs, "gradients": gradients}

    @property
    def without_gradient(self) -> list[str]:
        """Parameters that the backward pass did not reach."""
        return sorted(name for name in self.parameters if self.gradients.get(name) is None)


class Subject:
    """The user's functions in one folder, and runs of the model they make.

    Args:
        code: Fields of the `ModelCode`.
    """

    def __init__(self, code: CodeFields) -> None:
        source = ModelCode(**code)
        self.adapter: Adapter = framework_named(source.framework).open_models(source.folder)
        hide(source.hidden)
        functions = source.functions
        self._names = {role: f"{found[1]}() of {found[0]}" for role, found in functions.items()}
        self._functions = {role: load_function(*found) for role, found in functions.items()}
        self.is_random = True  # until a run has shown that nothing is drawn
        self.draws = 0
        self.counts: list[dict[str, int]] = []  # of each training-mode forward, where asked for
        self.is_counting = False
        self._refused = ""  # why the model cannot be called on its inputs without the step

    @contextmanager
    def drawing(self, salt: int = 0) -> Iterator[None]:
        """Make draws inside independent of earlier ones."""
        if not self.is_random:
            yield
            return
        with self.adapter.stream_independent(salt) as draws:
            yield
        self.draws += draws.count

    def build(self, seed: int = SEED) -> Any:
        """Build a new model."""
        self.adapter.seed(seed)
        with stage(self._names["build"]):
            model = self._functions["build"]()
        self.adapter.check(model, self._names["build"])
        return model

    def initial_values(self) -> Leaves:
        """The tensors of a new model; no draw of its construction depends on earlier ones."""
        with self.adapter.stream_independent(0):
            model, _, _ = self.ready()
        return self.adapter.tensors(model)

    def inputs(self) -> Call:
        """Make the inputs; none where the step makes its own."""
        if "inputs" not in self._functions:
            return Call()
        name = self._names["inputs"]
        self.adapter.seed(_INPUT_SEED)
        with stage(name):
            found = self._functions["inputs"]()
        return read_call(found, name, dict_is_one_input=self.adapter.dict_is_one_input)

    @cached_property
    def needs_step(self) -> bool:
        """Whether only the step can call the model: there are no inputs, or it refuses them."""
        if "step" not in self._functions or "inputs" not in self._functions:
            return "step" in self._functions
        model, call = self.build(), self.inputs()
        try:
            with stage("the forward pass in evaluation mode"):
                self._evaluate(model, call)
        except Refusal as refusal:
            self._refused = f", and without the step {refusal}"
            return True
        return False

    def ready(self, seed: int = SEED) -> tuple[Any, str, Call]:
        """Return a new model with all its parameters, the stream digest after it, and inputs."""
        run = self._evaluate_by_step if self.needs_step else self._evaluate
        model = self.build(seed)
        stream = self.adapter.stream_digest()
        call = self.inputs()
        self.adapter.seed(seed)
        with stage("the first forward pass"):
            self.adapter.prepare(model, partial(run, model, call))
        self.adapter.seed(_RUN_SEED)
        return model, stream, call

    def observe(
        self,
        values: Mapping[str, Array],
        seed: int = SEED,
        *,
        backward: bool = True,
        other_inputs: str = NO_INPUTS,
        rounding: int = 0,
    ) -> Observation:
        """Build, copy values in, run forward in both modes, and backward where asked to.

        Args:
            values: The values of the model's tensors, by path.
            seed: For what build draws.
            backward: Whether gradients are wanted.
            other_inputs: The inputs that get other values.
            rounding: Not 0: a salt; inputs and all results are moved by one rounding unit.
        """
        adapter = self.adapter
        model, stream, call = self.ready(seed)
        if other_inputs != NO_INPUTS:
            call = adapter.other_inputs(call, other_inputs)
        if rounding:
            call = adapter.rounded_inputs(call, rounding)
        adapter.set_tensors(model, values)
        moving = adapter.results_moved(rounding) if rounding else nullcontext()
        with moving, self.drawing():
            with stage("the forward pass in evaluation mode"):
                run = self._evaluate_by_step if self.needs_step else self._evaluate
                evaluated = run(model, call)
            trained, loss, gradients = self._train(model, call, backward=backward)
        outputs = {MODES[0]: adapter.leaves(evaluated), MODES[1]: adapter.leaves(trained)}
        if "step" in self._functions:
            outputs["loss"] = adapter.leaves(loss)
        return Observation(
            outputs=outputs,
            signature=adapter.signature((evaluated, trained)),
            gradients=gradients,
            inputs=adapter.leaves(call.named),
            parameters=adapter.parameters(model),
            stream_digest=stream,
            unit=adapter.rounding_unit(model, (evaluated, trained)),
        )

    def _evaluate(self, model: Any, call: Call) -> Any:
        """The output in evaluation mode."""
        inputs = self.adapter.copy_inputs(call)
        return self.adapter.forward(model, inputs, training=False, with_gradients=False)

    def _evaluate_by_step(self, model: Any, call: Call) -> Any:
        """The loss and outputs of a step in evaluation mode; empty if it runs in training alone."""
        if not self.adapter.has_modes:
            return {}
        with suppress(Refusal), self.adapter.mode(model, training=False, with_gradients=False):
            return self._step(model, call)[0]
        return {}

    def _step(self, model: Any, call: Call) -> tuple[Any, Any]:
        """Run the step: its loss with all that the model returned meanwhile, and the loss alone."""
        name = self._names["step"]
        inputs = self.adapter.copy_inputs(call)
        try:
            with stage(name), self.adapter.watching_outputs(model) as outputs:
                loss = inputs.of(self._functions["step"], model)
        except Refusal as refusal:
            raise Refusal(f"{refusal}{self._refused}") from refusal
        return {"loss": loss, "outputs": outputs}, loss

    def _train(self, model: Any, call: Call, *, backward: bool) -> tuple[Any, Any, GradientArrays]:
        """Run forward in training mode, and backward where asked to: output, loss, gradients."""
        adapter = self.adapter
        with adapter.recording() as recorded, self._counting(model):
            output, loss = self._forward(model, call)
            if "step" in self._functions:
                adapter.check_loss(loss, self._names["step"])
        if not backward:
            return output, loss, {}
        with stage("the backward pass"):
            return output, loss, adapter.gradients(model, loss, recorded)

    @contextmanager
    def _counting(self, model: Any) -> Iterator[None]:
        if not self.is_counting:
            yield
            return
        with self.adapter.counting(model) as counts:
            yield
        self.counts.append(counts)

    def _forward(self, model: Any, call: Call) -> tuple[Any, Any]:
        """The output in training mode, and the loss."""
        adapter = self.adapter
        if self.needs_step:
            with adapter.mode(model, training=True, with_gradients=True):
                return self._step(model, call)
        with stage("the forward pass in training mode"):
            inputs = adapter.copy_inputs(call)
            output = adapter.forward(model, inputs, training=True, with_gradients=True)
        if "step" not in self._functions:
            return output, adapter.projection(output)
        return output, self._step(model, call)[1]

    def keeps_state(self, values: Mapping[str, Array]) -> bool:
        """Whether a training-mode call writes into tensors that the model holds."""
        model, _, call = self.ready()
        self.adapter.set_tensors(model, values)
        before = self.adapter.tensors(model)
        with self.drawing():
            self._train(model, call, backward=False)
        after = self.adapter.tensors(model)
        return any(
            after[path].tobytes() != old.tobytes() for path, old in before.items() if path in after
        )

    def draw_again(self, values: Mapping[str, Array], salt: int) -> Leaves:
        """Return the training-mode output with other draws."""
        model, _, call = self.ready()
        self.adapter.set_tensors(model, values)
        with self.drawing(salt):
            if self.needs_step:
                return self.adapter.leaves(self._forward(model, call)[0])
            drawn = self.adapter.forward(model, call, training=True, with_gradients=False)
            return self.adapter.leaves(drawn)
