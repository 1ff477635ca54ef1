"""A study says in one line where Keras or its back end is not what the variants were made on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import pytest

from antifragile.ablate.records import Entry, Project
from antifragile.ablate.sandbox.job import Job, Outcome
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.folder import AblationFolder
from antifragile.ablate.study.server import describe_environment

MADE_ON = "keras 3.12 on torch 2.9"


class SaysBackEnd:
    """A server whose child says which Keras and back end it has."""

    def __init__(self, words: str) -> None:
        self.words = words

    def run_one(self, job: Job) -> Outcome:
        return Outcome(value=self.words)


@pytest.mark.parametrize(
    ("here", "is_said"), [(MADE_ON, False), ("keras 3.12 on tensorflow 2.20", True)]
)
def test_another_back_end_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, here: str, is_said: bool
) -> None:
    project = Project(root=str(tmp_path), sources=(), build=Entry(file="m.py", function="build"))
    folder = AblationFolder(
        path=tmp_path,
        project=project,
        arms=(),
        framework="keras",
        versions=MADE_ON,
    )
    with caplog.at_level(logging.WARNING):
        describe_environment(folder, cast("Server", SaysBackEnd(here)))
    expected = f"The variants were certified with {MADE_ON}; they train here with {here}."
    assert (expected in caplog.messages) == is_said
