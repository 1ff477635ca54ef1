"""Checks of user-written values that collect every fault instead of stopping at the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from antifragile.errors import SpecError, nearest

_MAX_SHOWN = 60


class Faults:
    """The faults found so far, raised together as one `SpecError`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._found: list[str] = []

    def add(self, sentence: str) -> None:
        """Note one fault, a sentence without the final full stop."""
        self._found.append(sentence.rstrip("."))

    def extend(self, error: SpecError) -> None:
        """Take over the faults of a part that was checked on its own."""
        self._found.extend(error.faults or [str(error).rstrip(".")])

    def unknown_keys(self, given: Iterable[str], valid: Iterable[str], *, where: str = "") -> None:
        """Note every key that is not valid, with the nearest one that is."""
        known = sorted(valid)
        for key in given:
            if key not in known:
                self.add(f"unknown key {shown(where + str(key))}; {nearest(str(key), known)}")

    def whole_number(self, key: str, value: object, *, minimum: int, maximum: int = 2**53) -> None:
        """Check for an int in ``[minimum, maximum]``; a bool is not a number."""
        if not isinstance(value, int) or isinstance(value, bool):
            self.add(f"{key} must be a whole number of at least {minimum}; got {shown(value)}")
        elif value < minimum:
            self.add(f"{key} must be at least {minimum}; got {shown(value)}")
        elif value > maximum:
            self.add(f"{key} must be at most {maximum}; got {shown(value)}")

    def number(self, key: str, value: object, *, minimum: float, below: float, open_: bool) -> None:
        """Check for a number in ``[minimum, below)``, or ``(minimum, below)``."""
        bounds = f"{'above' if open_ else 'at least'} {minimum:g} and below {below:g}"
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.add(f"{key} must be a number {bounds}; got {shown(value)}")
        elif not minimum <= value < below or (open_ and value == minimum):
            self.add(f"{key} must be {bounds}; got {shown(value)}")

    def choice(self, key: str, value: object, valid: Iterable[str]) -> None:
        """Check for one of ``valid``, naming the nearest."""
        known = list(valid)
        if value not in known:
            self.add(f"{key} {shown(value)} is unknown; {nearest(shown(value, str), known)}")

    def raise_if_any(self) -> None:
        """Raise all faults as one sentence, or several joined by semicolons."""
        if not self._found:
            return
        if len(self._found) == 1:
            end = "" if self._found[0].endswith("?") else "."
            raise SpecError(f"{self._what}: {self._found[0]}{end}", faults=self._found)
        listed = "".join(f"\n  - {fault}" for fault in self._found)
        raise SpecError(f"{self._what} has {len(self._found)} faults:{listed}", faults=self._found)


def shown(value: object, form: Callable[[object], str] = repr) -> str:
    """Return a user's value for a message, cut when it is long."""
    try:
        text = form(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits; deep nesting
        return f"a very large {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
