"""The first call of a model inside a trainer: which part is called, and on what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from antifragile.errors import UsageError
from antifragile.integrations.processes import of_the_first
from antifragile.model.units.watching.prepare import Inputs
from antifragile.optim.attach.hooks.model import is_redirected


class FirstCall:
    """Watches for the first call of a model, or of a part of it, and keeps its arguments.

    Args:
        model: The model.
        network: Name of the part whose call counts; None for the model itself.
        parts: Whether, without ``network``, the call of a direct part counts if the model itself
            is never called, as in a LightningModule without a ``forward``.

    Raises:
        UsageError: The model has no part of that name.
    """

    def __init__(self, model: nn.Module, *, network: str | None, parts: bool) -> None:
        watched = {"": model}
        if network is not None:
            watched = {network: part_named(model, network)}
        elif parts:
            watched |= {
                name: part
                for name, part in model.named_children()
                if next(part.parameters(), None) is not None
            }
        self._seen: dict[str, Inputs] = {}
        self._shared: Inputs | None = None
        self._then: Callable[[], None] | None = None
        self._handles = {name: self._watch(name, part) for name, part in watched.items()}

    def then(self, act: Callable[[], None]) -> None:
        """Act when a call is seen, before it is made."""
        self._then = act

    def found(self) -> tuple[str, Inputs] | None:
        """Return the name of the part that was called, and the first process's arguments.

        Raises:
            UsageError: Several parts were called one after the other.
        """
        if not self._seen:
            return None
        if len(self._seen) > 1:
            names = " and ".join(map(repr, self._seen))
            raise UsageError(
                f"the training calls {names} of the model, and never the model itself, so that "
                "there is no whole to find units in; define forward and call self(...), or name "
                "one of them, as in network='encoder'."
            )
        [(name, inputs)] = self._seen.items()
        if self._shared is None:
            self._shared = of_the_first(inputs)
        self.close()
        return name, self._shared

    def close(self) -> None:
        """Stop watching."""
        for handle in self._handles.values():
            handle.remove()

    def _watch(self, name: str, part: nn.Module) -> RemovableHandle:
        def see(called: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if is_redirected(called):
                return
            self._handles[name].remove()
            if not name:
                self.close()  # calls of parts are the model's own
            self._seen[name] = Inputs(args, kwargs).copied()
            if self._then is not None:
                act, self._then = self._then, None
                with _full_precision():
                    act()

        return part.register_forward_pre_hook(see, with_kwargs=True)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Switch mixed precision off inside."""
    with ExitStack() as stack:
        for kind in ("cpu", *(("cuda",) if torch.cuda.is_available() else ())):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def part_named(model: nn.Module, name: str) -> nn.Module:
    """Look up a part of a model.

    Raises:
        UsageError: There is none of that name.
    """
    parts: dict[str, nn.Module] = dict(model.named_modules())
    if name not in parts:
        some = ", ".join(repr(part) for part, _ in model.named_children())
        raise UsageError(f"the model has no part network={name!r}; its parts are {some}.")
    return parts[name]
