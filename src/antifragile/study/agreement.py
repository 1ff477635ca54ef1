"""Checks that a stored study is the one asked for, and kept weights are those of its trials."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from antifragile.config.specs.evaluate import Keep
from antifragile.config.specs.study import StudySpec
from antifragile.data.datasets import load_dataset
from antifragile.data.splits import Dataset
from antifragile.engine.checkpoint import load_checkpoint, trial_fingerprint
from antifragile.errors import CheckpointError, StoreError
from antifragile.store.check import Finding, Repair
from antifragile.store.owner import Ownership
from antifragile.store.records import DataFacts, StoredStudy
from antifragile.store.store import Store
from antifragile.study.equations import TrainingPlan
from antifragile.study.folder import default_files, state_file

logger = logging.getLogger(__name__)


def load_study_data(spec: StudySpec, data_dir: Path | None) -> Dataset:
    """The study's data set, after checking that every network fits in memory with it."""
    data = load_dataset(spec.dataset, data_dir=data_dir, normalization=spec.training.normalization)
    for architecture in spec.architectures:
        network = spec.training.network
        architecture.check_fits_in_memory(data.n_inputs, data.n_classes, network)
    return data


def data_facts(data: Dataset) -> DataFacts:
    """Facts about a data set, as the store keeps them."""
    return DataFacts(
        data_sha256=data.sha256,
        n_train=data.train.n_samples,
        n_validation=data.validation.n_samples,
        n_test=data.test.n_samples,
        zero_r_validation=data.validation.zero_r_correct,
        zero_r_test=data.test.zero_r_correct,
    )


def agreed_spec(store: Store, spec: StudySpec, data: Dataset) -> StudySpec:
    """The spec, or the stored one of its name after a check that it is the same study.

    A stored study that was extended beyond the spec is the same study.
    """
    stored = store.find_study(spec.name)
    if stored is None:
        return spec
    larger = spec.extended(
        trials=max(spec.trials, stored.spec.trials),
        meta_loops=max(spec.meta_loops, stored.spec.meta_loops),
    )
    if differences := larger.differences(stored.spec):
        extend = {item.split(":")[0] for item in differences} <= {"trials", "meta_loops"}
        advice = "use 'study extend'" if extend else "give the study another name"
        raise StoreError(
            f"study {spec.name!r} in store {store} differs from this spec ({'; '.join(differences)}"
            f"); {advice}, or use another store."
        )
    if stored.data.data_sha256 != data.sha256:
        raise StoreError(
            f"study {spec.name!r} in store {store} was run on other data than {spec.dataset!r} "
            "holds now; bring the old data back, or give the study another name."
        )
    if spec.meta_loops < stored.spec.meta_loops or spec.trials < stored.spec.trials:
        logger.warning(
            "study %r in store %s has %d trials of %d meta-loops, more than this spec asks for; it "
            "goes on as it is.",
            *(spec.name, store, stored.spec.trials, stored.spec.meta_loops),
        )
    return stored.spec


def put_study(store: Store, spec: StudySpec, data: Dataset, owner: Ownership) -> StoredStudy:
    """Add the study, or replace the stored one's spec when this one is larger."""
    stored = store.find_study(spec.name)
    if stored is None:
        store.add_study(spec, data_facts(data), owner=owner)
    elif stored.spec != spec:
        store.extend_study(spec, owner=owner)
    return store.study(spec.name)


def check_same_machine(
    store: Store, study: str, trainings: Iterable[TrainingPlan], *, mix_machines: bool
) -> None:
    """Refuse to go on with records that were computed under other conditions.

    Raises:
        StoreError: The study has such records, and they are not to be mixed.
    """
    if mix_machines:
        return
    conditions = {training.equation.modes: training.environment for training in trainings}
    for modes, environment in conditions.items():
        for other in store.environments(study, modes=modes):
            if other != environment:
                raise StoreError(
                    f"study {study!r} was begun under other conditions "
                    f"({'; '.join(environment.differences(other))}), so its numbers would not be "
                    "the same bit for bit; go on there, or accept a mixture with --mix-machines."
                )


def check_weights(store: Store, study: StoredStudy, files: Path | None = None) -> list[Finding]:
    """Compare the kept weights of a study's finished trials with their results.

    Args:
        store: The store.
        study: A study of it; one that keeps no weights has nothing to compare.
        files: The folder of the weights; by default the one that `default_files` names.

    Returns:
        Weights that are missing in a folder that has others, damaged, or of another trial or time.
    """
    folder = default_files(store, study.spec.name) if files is None else files
    if study.spec.keep is not Keep.LKG or not any(folder.glob("*.safetensors")):
        return []
    specs = {(t.architecture.name, t.mode, t.trial): t for t in study.spec.trial_specs()}
    found = []
    for trial in store.trials(study.spec.name):
        spec = specs.get((trial.architecture, trial.mode, trial.trial))
        if spec is None or trial.result is None or not trial.is_finished(study.spec.meta_loops):
            continue
        fingerprint = trial_fingerprint(spec, study.data.data_sha256)
        try:
            state, _ = load_checkpoint(state_file(folder, spec), fingerprint=fingerprint)
        except CheckpointError as error:
            what = str(error)
        else:
            reached = state.meta_loop, state.best.bounty
            if reached == (trial.result.meta_loops, trial.result.peak_correct):
                continue
            what = f"{state_file(folder, spec)} is from another time of this trial."
        where = f"weights of trial {trial.trial} of {trial.architecture} {trial.mode}"
        found.append(Finding(where=where, what=what, repair=Repair.NONE, study=study.spec.name))
    return found
