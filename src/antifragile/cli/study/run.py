"""``antifragile study run``, ``plan`` and ``extend``.

What trains needs torch, and is imported once a verb is called: ``--help`` does not wait for it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from antifragile.cli.options import (
    DEFAULT_STORE,
    BudgetOption,
    DataDirOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    PrecisionOption,
    StoreOption,
    StudyOption,
    WorkersOption,
)

SpecArgument = Annotated[Path, typer.Argument(help="A study spec, as in studies/demo.toml.")]


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """Options that `run` and `extend` share: the fields of `study.options.RunOptions`."""

    workers: WorkersOption = None
    executor: Annotated[
        str | None,
        typer.Option(
            help="Executor of the tasks: serial, local, or one that an installed package adds.",
            show_default="serial, or local for several workers",
        ),
    ] = None
    engine: EngineOption = "fleet"
    device: DeviceOption = "cpu"
    precision: PrecisionOption = "fp32"
    memory_budget_gib: BudgetOption = 8.0
    data_dir: DataDirOption = None
    files: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoints and kept weights.", show_default="beside the store"
        ),
    ] = None
    mix_machines: Annotated[
        bool, typer.Option("--mix-machines", help="Go on with what another kind of machine began.")
    ] = False
    checkpoint_every_s: Annotated[
        float,
        typer.Option(
            "--checkpoint-every",
            min=0,
            max=1e8,
            help="Least seconds between two checkpoints of a trial.",
        ),
    ] = 5.0


def run(
    *,
    spec: SpecArgument,
    store: StoreOption = DEFAULT_STORE,
    flags: RunFlags,
    as_json: JsonOption = False,
) -> None:
    """Run a study, or go on with it; stop it at any moment and run the same command again."""
    from antifragile.cli.study.live import StudyDisplay
    from antifragile.cli.study.outcome import print_outcome
    from antifragile.study.runner import run_study

    with StudyDisplay() as display:
        outcome = run_study(spec, store=store, listener=display, **asdict(flags))
    with outcome.store:
        print_outcome(outcome, as_json=as_json)


def plan(
    spec: SpecArgument,
    store: Annotated[
        str | None,
        typer.Option(help="Store whose finished trials count as done.", show_default=False),
    ] = None,
    workers: WorkersOption = None,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "fp32",
    memory_budget: BudgetOption = 8.0,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how a study would run, with predicted time and memory; nothing is run or written."""
    from antifragile.cli.study.plan import print_plan
    from antifragile.study.runner import preview_study

    preview = preview_study(
        spec,
        store=store,
        workers=workers,
        device=device,
        precision=precision,
        memory_budget_gib=memory_budget,
        data_dir=data_dir,
    )
    print_plan(preview, as_json=as_json)


def extend(
    *,
    store: StoreOption = DEFAULT_STORE,
    study: StudyOption = None,
    trials: Annotated[
        int | None, typer.Option(help="New total of trials per cell.", show_default=False)
    ] = None,
    meta_loops: Annotated[
        int | None, typer.Option(help="New total of meta-loops per trial.", show_default=False)
    ] = None,
    flags: RunFlags,
    as_json: JsonOption = False,
) -> None:
    """Add trials or meta-loops to a study and run them; nothing finished is run again."""
    from antifragile.cli.study.live import StudyDisplay
    from antifragile.cli.study.outcome import print_outcome
    from antifragile.study.runner import extend_study

    with StudyDisplay() as display:
        outcome = extend_study(
            study,
            store=store,
            trials=trials,
            meta_loops=meta_loops,
            listener=display,
            **asdict(flags),
        )
    with outcome.store:
        print_outcome(outcome, as_json=as_json)
