"""A few of the ways out that the benchmark tries, and how it judges."""

from __future__ import annotations

import sys

import pytest

from antifragile.ablate.sandbox.limits.probe import find_mechanisms
from benchmarks.trust.children import run_escape
from benchmarks.trust.escapes import ESCAPES

BY_NAME = {escape.name: escape for escape in ESCAPES}
SLICE = (
    *("control: reads", "daemon", "stop the parent", "memory of forks", "many files"),
    *("write outside", "mode of a file", "TCP to this machine", "fork bomb"),
)


def test_names_are_used_once() -> None:
    assert len(BY_NAME) == len(ESCAPES) >= 26


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's limits are Linux's")
@pytest.mark.parametrize("name", SLICE)
def test_a_way_out_is_shut(name: str) -> None:
    if not find_mechanisms().needs_users:
        pytest.skip("this system gives its users no namespaces")
    result = run_escape(BY_NAME[name], without=())
    assert (result.verdict, result.expected) == ("stopped", "stopped"), result.seen
    assert BY_NAME[name].right in result.seen


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's limits are Linux's")
def test_what_a_mechanism_holds_is_open_without_it() -> None:
    without = ("mount_namespace", "process_namespace", "network_namespace")
    result = run_escape(BY_NAME["mode of a file"], without=without)
    assert result.seen == "the file's mode or time was changed"
    assert result.verdict == result.expected == "not"


def test_a_try_that_fails_itself_is_not_called_stopped() -> None:
    result = run_escape(BY_NAME["daemon"], without=("a mechanism that there is not",))
    assert (result.verdict, result.seen) == ("noticed", "the command itself failed")
