"""Names of the variants' folders: readable, and one for each variant on every file system.

    gpt-transformer-h-3--identity     component, kind
    attention-heads--drop-head-0      component, kind, options
    act-1--identity-3f2a9c            two components would share a folder: a part of a hash follows

Names are ASCII in lower case without dots, so neither case, nor the way in which a file system
writes accents, nor a name that Windows keeps for itself can make two of them one.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from antifragile._files import safe_name
from antifragile.ablate.records import AblationKind, AblationPlan, Edit, Planned

_MOST_WORDS, _MOST_LETTERS = 80, 180  # of the component, of a name without its hash
_LETTER = re.compile(r"(?:SMALL|CAPITAL) (?:LETTER|LIGATURE) ([A-Z]+)")
_DIGITS = (0, 6, 12, 64)  # of the hash: as few as tell the folders apart


@dataclass(frozen=True, kw_only=True)
class VariantKey:
    """Identity of a variant: its component, kind, options, and at last its edits."""

    component: str
    kind: AblationKind
    options: tuple[tuple[str, str], ...]
    edits: tuple[Edit, ...]

    @classmethod
    def of(cls, component: str, kind: AblationKind, planned: Planned) -> VariantKey:
        """The key of one planned variant."""
        options = tuple(planned.options.items())
        return cls(component=component, kind=kind, options=options, edits=planned.edits)

    def name(self, n_digits: int) -> str:
        """Its folder's name with so many digits of a hash."""
        words = slug(self.component, self.kind, dict(self.options))
        if len(words) > _MOST_LETTERS:
            words, n_digits = words[:_MOST_LETTERS], max(n_digits, _DIGITS[1])
        if n_digits == 0:
            return words
        what: tuple[object, ...] = (self.component, self.kind.value, self.options)
        if n_digits > _DIGITS[1]:
            what += self.edits
        return f"{words}-{hashlib.sha256(repr(what).encode()).hexdigest()[:n_digits]}"


def slug(component: str, kind: AblationKind, options: Mapping[str, str]) -> str:
    """Return a readable folder name, which several variants may share."""
    words = safe_name(in_ascii(component.replace("*", "any")), at_most=_MOST_WORDS)
    values = (safe_name(in_ascii(value), also="_") for value in options.values())
    return "-".join([f"{words or 'part'}--{kind}", *values]).lower()


def in_ascii(text: str) -> str:
    """Write letters of other alphabets in ASCII: accents go, "α" is "alpha", others a number."""
    return "".join(map(_ascii_letter, unicodedata.normalize("NFKC", text)))


def _ascii_letter(letter: str) -> str:
    if letter.isascii() or not letter.isalnum():
        return letter
    plain = "".join(c for c in unicodedata.normalize("NFKD", letter.casefold()) if c.isascii())
    named = _LETTER.search(unicodedata.name(letter, ""))
    return plain or (named[1].lower() if named else f"u{ord(letter):x}")


def folder_names(keys: Iterable[VariantKey]) -> dict[VariantKey, str]:
    """Return a name for each variant; those that would share one get digits of a hash.

    The result depends on the set of variants alone, not on their order.
    """
    level = dict.fromkeys(keys, 0)
    while True:
        names = {key: key.name(_DIGITS[place]) for key, place in level.items()}
        shared = {name for name, count in Counter(names.values()).items() if count > 1}
        if not shared:
            return names
        for key, name in names.items():
            if name in shared:
                level[key] = min(level[key] + 1, len(_DIGITS) - 1)


def names_in(plan: AblationPlan) -> dict[VariantKey, str]:
    """Return the folders of all variants of a model, those that nobody asked for included."""
    return folder_names(
        VariantKey.of(item.component.name, kind, planned)
        for item in plan.plans
        for kind, outcome in item.outcomes.items()
        for planned in _planned(outcome)
    )


def _planned(outcome: object) -> Sequence[Planned]:
    return outcome if isinstance(outcome, tuple) else ()
