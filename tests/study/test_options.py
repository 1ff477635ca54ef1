"""Options of running a study."""

from dataclasses import fields

import pytest

from antifragile.errors import UsageError
from antifragile.study.options import RunKeywords, RunOptions


def test_the_keywords_of_run_study_are_the_fields_of_its_options() -> None:
    assert list(RunKeywords.__annotations__) == [field.name for field in fields(RunOptions)]


def test_an_unknown_keyword_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match=r"unknown option 'workrs'; did you mean 'workers'\?"):
        RunOptions.read({"workrs": 2})  # type: ignore[typeddict-unknown-key]
