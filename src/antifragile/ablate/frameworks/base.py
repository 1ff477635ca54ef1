"""The record of a framework in the registry; its models as we run them are an `Adapter`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from antifragile.ablate.records import Project
from antifragile.ablate.trace.records import Trace

if TYPE_CHECKING:  # commands ask for names of frameworks, and need no torch
    from antifragile.ablate.frameworks.adapter import Adapter


def nothing_more(texts: Sequence[str]) -> tuple[str, ...]:
    """Preload nothing, whatever the variants hold."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A framework whose models can be ablated; imported without the framework itself.

    Args:
        name: Its name in commands, certificates and stores, and in `import NAME`.
        title: Its name in sentences.
        templates: The folder of its edit templates.
        trace: Runs a project once in this process and notes what every site did.
        open_models: Opens the adapter for models whose files lie in a folder.
        placeholders: The library names that templates write, from a file's own names for them.
        preload: Modules that a server imports before it forks.
        preload_for: Further ones that pay off for variants whose edited files hold these texts.
        preload_training: Further ones that training needs.
        environment: Environment variables of the server.
        extra: The extra of this package that installs the framework; None for a dependency.
        trains_data_sets: Whether the built-in experiment on our data sets trains its models.
    """

    name: str
    title: str
    templates: Path
    trace: Callable[[Project], Trace]
    open_models: Callable[[str], Adapter]
    placeholders: Callable[[Mapping[str, str]], dict[str, str]]
    preload: tuple[str, ...]
    preload_for: Callable[[Sequence[str]], tuple[str, ...]] = nothing_more
    preload_training: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    extra: str | None = None
    trains_data_sets: bool = False
