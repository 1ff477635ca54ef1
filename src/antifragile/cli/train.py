"""``antifragile train``: one trial, with a live curve of its bounty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from antifragile.cli.console import print_json, stderr, stdout
from antifragile.cli.options import (
    DataDirOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    PrecisionOption,
)
from antifragile.config.architecture import Architecture
from antifragile.config.modes import get_mode
from antifragile.config.modifiers.records import TargetChoice
from antifragile.config.networks import Network
from antifragile.config.perturbation import Perturbation
from antifragile.config.seeds import Pairing
from antifragile.config.specs.training import TrainingOptions
from antifragile.config.specs.trial import TrialSpec
from antifragile.data.datasets import load_dataset
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.errors import Interrupted, SpecError, nearest
from antifragile.study.options import RunOptions
from antifragile.study.single.trial import STORY_FILE, WEIGHTS_FILE, SingleTrial, open_single_trial

_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, kw_only=True)
class TrainingFlags:
    """Fields of `TrainingOptions`; None leaves one as the preset has it."""

    learning_rate: Annotated[float | None, typer.Option(help="Step size of AdamW.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Samples per step.")] = None
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay in mode decay.")] = None
    dropout: Annotated[float | None, typer.Option(help="Drop probability in its mode.")] = None
    normalization: Annotated[str | None, typer.Option(help="standardize or unit.")] = None
    network: Annotated[
        str | None, typer.Option(help="mlp, or resmlp: ARCH is then residual blocks.")
    ] = None
    initialisation: Annotated[
        str | None, typer.Option(help="pytorch, or he: normal with zero biases.")
    ] = None
    block_dropout: Annotated[
        float | None,
        typer.Option(help="Drop probability inside the blocks of a resmlp in other modes."),
    ] = None
    block_norm: Annotated[
        str | None, typer.Option(help="none, or layer: normalise before the blocks of a resmlp.")
    ] = None


def train(
    *,
    dataset: Annotated[str, typer.Option(help="digits, mnist, ... or npz:PATH.")] = "digits",
    arch: Annotated[str, typer.Option(help="As in '4*4' or '[2*128, 4*64]'.")] = "[1*64]",
    mode: Annotated[
        str,
        typer.Option(
            help="none, decay, dropout, full, hidden, output, in a resmlp also channel and "
            "author-hidden, or a --perturb name; with modifiers, as in hidden+patience=5; several "
            "in turn, as in dropout:50,output:50 (see 'antifragile info --modes')."
        ),
    ] = "none",
    perturb: Annotated[
        list[str] | None,
        typer.Option(
            help="Perturb the update equation, in any mode: a preset's NAME, or "
            "NAME:option=value,... May be given again.",
            show_default=False,
        ),
    ] = None,
    meta_loops: Annotated[int, typer.Option(min=1, help="Meta-loops in this mode.")] = 100,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the LKG.", show_default="outputs/DATASET-ARCH-SEED-TRIAL"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in the folder, also in another mode.")
    ] = False,
    trial: Annotated[
        int, typer.Option(min=1, help="Number of the trial; it selects the random streams.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Root of every random stream.")] = 1337,
    pairing: Annotated[str, typer.Option(help="paired or independent.")] = "paired",
    preset: Annotated[str, typer.Option(help="paper, table-v or author-resmlp.")] = "paper",
    training: TrainingFlags,
    engine: EngineOption = "fleet",
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "fp32",
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one network by the meta-loop and keep its last known good state."""
    perturbations = [Perturbation.parse(text) for text in perturb or ()] or None
    given = asdict(training) | {"perturb": perturbations}
    spec = TrialSpec(
        dataset=dataset,
        architecture=Architecture.parse(arch),
        mode=mode,
        trial=trial,
        meta_loops=meta_loops,
        seed=seed,
        pairing=_pairing(pairing),
        training=TrainingOptions.from_mapping(
            {key: value for key, value in given.items() if value is not None}, preset=preset
        ),
    )
    options = RunOptions(engine=engine, device=device, precision=precision, data_dir=data_dir)
    normalization = spec.training.normalization
    data = load_dataset(spec.dataset, data_dir=options.data_dir, normalization=normalization)
    sizes = data.n_inputs, data.n_classes
    spec.architecture.check_fits_in_memory(*sizes, spec.training.network)
    data, folder = data.to(options.device), out or _default_folder(spec)
    with open_single_trial(spec, data, folder, options, resume=resume) as single:
        try:
            _watch(single)
            result = single.finish()
        except KeyboardInterrupt:
            raise Interrupted(_how_to_resume(single)) from None
    _report(single, result, as_json)


def _pairing(name: str) -> Pairing:
    if name not in list(Pairing):
        raise SpecError(f"pairing {name!r} is unknown; {nearest(name, Pairing)}")
    return Pairing(name)


def _how_to_resume(single: SingleTrial) -> str:
    if single.state is None:
        return "interrupted before the end of meta-loop 1; run the same command again."
    return (
        f"interrupted after meta-loop {single.state.meta_loop}; the state is in {single.folder}: "
        "run the same command with --resume to go on."
    )


def _default_folder(spec: TrialSpec) -> Path:
    shape = spec.architecture.name.strip("[]").replace("*", "x").replace(", ", "_")
    dataset = Path(spec.dataset.removeprefix("npz:")).stem
    kind = "" if spec.training.network is Network.MLP else f"{spec.training.network}-"
    return Path("outputs") / f"{dataset}-{kind}{shape[:80]}-seed{spec.seed}-trial{spec.trial}"


def _watch(single: SingleTrial) -> None:
    console = stderr()
    if not console.is_terminal:
        for record in single.run():
            console.print(_line(single, record), soft_wrap=True)
        return
    with Live(console=console, auto_refresh=False) as live:
        for record in single.run():
            curve = bounty_curve(
                single.records, single.data.validation.n_samples, width=min(60, console.width - 12)
            )
            title = Text(f"bounty over {len(single.records)} meta-loops")
            live.update(Group(title, Text(curve), Text(_line(single, record))), refresh=True)


def bounty_curve(
    records: Sequence[MetaLoopRecord], n_validation: int, *, width: int = 60, height: int = 8
) -> str:
    """The bounty over the meta-loops as text, one column per meta-loop or group of them.

    The vertical axis reaches from the lowest to the highest bounty, in percent.
    """
    values = [100 * record.bounty / n_validation for record in records]
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    low, high = min(values), max(values)
    eighths = [round((v - low) / ((high - low) or 1) * (height * 8 - 1)) + 1 for v in values]
    rows = []
    for row in range(height - 1, -1, -1):
        label = f"{high:6.2f} %" if row == height - 1 else f"{low:6.2f} %" if row == 0 else " " * 8
        cells = "".join(_BLOCKS[min(max(eighth - 8 * row, 0), 8)] for eighth in eighths)
        rows.append(f"{label} {cells}")
    return "\n".join(rows)


def _line(single: SingleTrial, record: MetaLoopRecord) -> str:
    percent = 100 / single.data.validation.n_samples
    harm = ""
    if record.ablated_layer is not None:
        mode = get_mode(single.spec.mode).at(record.meta_loop)
        first = "ablated" if mode.variation.targets == TargetChoice() else "first hit"
        harm = f", {first} neuron {record.ablated_neuron} of layer {record.ablated_layer}"
    return (
        f"meta-loop {record.meta_loop}: validation {record.validation_correct * percent:.2f} %, "
        f"bounty {record.bounty * percent:.2f} %, loss {record.train_loss:.4f}"
        f"{', promoted' if record.promoted else ''}{harm}"
    )


def _report(single: SingleTrial, result: TrialResult, as_json: bool) -> None:
    validation = 100 / single.data.validation.n_samples
    test = 100 / single.data.test.n_samples
    values = {
        "architecture": single.spec.architecture.name,
        "mode": single.spec.mode,
        "meta_loops": result.meta_loops,
        "peak_validation_accuracy": result.peak_correct * validation,
        "peak_meta_loop": result.peak_meta_loop,
        "final_validation_accuracy": result.final_correct * validation,
        "test_accuracy": result.test_correct * test,
        "weights": str(single.folder / WEIGHTS_FILE),
        "story": str(single.folder / STORY_FILE),
    }
    if as_json:
        print_json(values)
        return
    stdout().print(
        f"peak {values['peak_validation_accuracy']:.2f} % validation at meta-loop "
        f"{result.peak_meta_loop} of {result.meta_loops}, final "
        f"{values['final_validation_accuracy']:.2f} %, test {values['test_accuracy']:.2f} %\n"
        f"weights  {values['weights']}\nstory    {values['story']}",
    )
