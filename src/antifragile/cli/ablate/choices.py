"""The options of ``ablate run``: what is trained, how it is judged, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.study.options import AblationRunOptions, StudyOptions


@dataclass(frozen=True, kw_only=True)
class StudyFlags(StudyOptions):
    """A study: what is trained, on which seeds, and how it is judged."""

    experiment: Annotated[
        str | None,
        typer.Option(
            help="FILE.py:run, a function run(build_model, seed, data_order_seed) that trains and "
            "returns metrics by name.",
            show_default=False,
        ),
    ]
    command: Annotated[
        str | None,
        typer.Option(
            help="The command that trains, as you type it, as in 'python train.py --seed {seed} "
            "--out {out}'; nothing of yours is rewritten. {order} is the seed of the batch order.",
            show_default="that of the variants",
        ),
    ]
    reseed: Annotated[
        bool,
        typer.Option(
            "--reseed", help="With --command: mix the seed into constants the script seeds with."
        ),
    ]
    threads: Annotated[int, typer.Option(min=1, max=1024, help="With --command: threads of a run.")]
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Train a classifier on this data set of ours instead, as in digits.",
            show_default=False,
        ),
    ]
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Pairs of runs per variant.")]
    first_seed: Annotated[int, typer.Option(min=0, max=2**53, help="The first of the seeds.")]
    protocol: Annotated[
        Literal["retrain", "post-hoc", "both"],
        typer.Option(help="Cut before training, or cut the trained model (needs evaluate())."),
    ]
    design: Annotated[DesignName, typer.Option(help="How components are combined.")]
    only: Annotated[
        list[str] | None,
        typer.Option(help="Folders or components, as in 'block-*'; may be repeated."),
    ]
    kinds: Annotated[
        str | None, typer.Option(help="Kinds of ablation, as in identity,zero.", show_default="all")
    ]
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Further seeds where the verdict is still open.")
    ]
    max_seeds: Annotated[
        int | None,
        typer.Option(
            min=2, max=10_000, help="Of an adaptive study.", show_default="3 times --seeds"
        ),
    ]
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Which metric is judged. With --command where it is, as in "
            "'json:{out}/metrics.json:val_loss', 'csv:{out}/log.csv:val_loss' or "
            "'regex:val loss ([0-9.]+)'; may be repeated, the first is judged.",
            show_default="the first",
        ),
    ]
    direction: Annotated[
        Literal["higher", "lower"] | None,
        typer.Option(help="Which is better.", show_default="by the metric's name"),
    ]
    alpha: Annotated[float, typer.Option(min=1e-6, max=0.5, help="Level of the verdicts.")]
    margin: Annotated[
        float | None,
        typer.Option(
            min=1e-12,
            max=1e18,
            help="Effects smaller than this are equivalence, in units of the metric.",
            show_default="none declared",
        ),
    ]
    epochs: Annotated[int, typer.Option(min=1, max=10**7, help="With --dataset: passes over it.")]
    batch_size: Annotated[
        int, typer.Option(min=1, max=2**31 - 1, help="With --dataset: samples a step.")
    ]
    learning_rate: Annotated[float, typer.Option(min=0, max=1e18, help="With --dataset: of AdamW.")]
    device: Annotated[
        str,
        typer.Option(
            help="cpu, cuda or mps: reaches --dataset, and an --experiment whose function takes "
            "`device`."
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class AblationRunFlags(AblationRunOptions):
    """The store of a study and the processes of its runs."""

    manifest: Annotated[
        Path | None,
        typer.Option(
            help="Repeat the study of this manifest, or with --only some of its rows, and compare.",
            show_default=False,
        ),
    ]
    name: Annotated[str, typer.Option(help="Of the study in the store.")]
    store: Annotated[
        str | None,
        typer.Option(
            help="File or URL of the store.", show_default="ablation.db in the folder of variants"
        ),
    ]
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Runs at a time, one thread each.")]
    timeout: Annotated[float, typer.Option(min=0.1, max=1e8, help="Seconds for one run.")]
    memory: Annotated[str, typer.Option(help="Memory for one run, as in 512MiB.")]
    confine: Annotated[
        bool,
        typer.Option(
            "--confine",
            help="Hold runs like probes: own files alone, no network, no secret variables.",
        ),
    ]
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="End the study with the first run that fails.")
    ]
