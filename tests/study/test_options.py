"""Options of running a study."""

from dataclasses import fields

from antifragile.study.options import RunKeywords, RunOptions


def test_the_keywords_of_run_study_are_the_fields_of_its_options() -> None:
    assert list(RunKeywords.__annotations__) == [field.name for field in fields(RunOptions)]
