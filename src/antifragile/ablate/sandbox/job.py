"""A call of one of our functions that a child process is to make."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Job:
    """A call for a child: `target(**arguments)` with the folder as working directory.

    Args:
        target: A function at the top of a module, so that a child can import it by name; the
            module must not import the user's code.
        folder: Working directory.
        arguments: Plain data (JSON); what the function returns must be plain data as well.
        paths: First folders of the import path; `folder` where none are given.
        script: The one word of `sys.argv`: the file that the user would run.
        copied_from: Folders that the child copies into `folder`, later ones over earlier ones. The
            copy is removed when the job has ended.
        is_confined: Whether a job in a copy has a private HOME, and writes in its copy and
            `writable` alone.
        writable: Further folders of a confined job.
    """

    target: Callable[..., Any]
    folder: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    script: str = ""
    copied_from: tuple[str, ...] = ()
    is_confined: bool = True
    writable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that a child can import the target, and that the arguments are its own."""
        module, name = self.target.__module__, self.target.__qualname__
        if getattr(sys.modules.get(module), name, None) is not self.target or module == "__main__":
            raise ValueError(
                f"a child process cannot import {module}:{name}; "
                "a job needs a function at the top of a module."
            )
        inspect.signature(self.target).bind(**self.arguments)

    @property
    def reference(self) -> str:
        """The target as text: ``package.module:function``."""
        return f"{self.target.__module__}:{self.target.__qualname__}"
