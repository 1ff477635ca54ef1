"""Names of modules after the place that builds them, and after their places in a stack.

Net.blocks[*] (all)          every block of the stack
Net.blocks[0, 2] (2 of 4)    two of them: another place builds the others
Block.fc (4 of 6)            two blocks were given theirs by another place
one.act and two.act          one module that the model holds twice
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from antifragile.ablate.discovery.evidence import Evidence, SeenSite, index_path

Layers = dict[tuple[str, str], list[int]]  # (owner's class, path below the owner) -> modules

_MOST_WORDS = 6  # numbers or names that are spelled out


def layer_paths(evidence: Evidence, site: SeenSite, numbers: Sequence[int]) -> Layers:
    """Return the modules by (owner's class, path below the owner)."""
    found: Layers = {}
    for number in numbers:
        owner = evidence.owner_of(evidence.module(number), site.class_name)
        if owner is not None:
            found.setdefault((owner[0], owner[2]), []).append(number)
    return found


def stack_name(evidence: Evidence, site: SeenSite, numbers: Sequence[int], paths: Layers) -> str:
    """Name a stack of layers, and say how many of those that its name fits are meant."""
    name = group_name(evidence, site, numbers, paths)
    if name == f"{site.function}:{site.label}":
        return f"{name} (all)"  # all that this place builds
    owner, fitting = fitting_paths(evidence, paths)
    meant = {path for class_name, path in paths if class_name == owner}
    return f"{name} (all)" if fitting <= meant else f"{name} ({len(meant)} of {len(fitting)})"


def group_name(evidence: Evidence, site: SeenSite, numbers: Sequence[int], paths: Layers) -> str:
    """Name the modules that a call builds: by class and attribute, or by function and callee."""
    if paths and site.class_name is not None:
        owner, _ = next(iter(paths))
        words = common_path([path for _, path in paths])
        if not words.startswith("*"):  # else it is called in several places of the class
            name = f"{owner}.{index_path(spelled_out(evidence, words, paths))}"
            return f"{name}{share_of(evidence, owner, words, numbers)}"
    modules = [evidence.module(number) for number in numbers if evidence.module(number).name]
    if len(modules) == 1:
        names = [modules[0].name, *(one for one in modules[0].names if one != modules[0].name)]
        return modules[0].title or at_a_glance(names)
    return f"{site.function}:{site.label}"


def share_of(evidence: Evidence, owner: str, path: str, numbers: Sequence[int]) -> str:
    """Say how many of the layers of one name are meant, where some owners hold another's layer."""
    owners = [evidence.owner_of(evidence.module(number), owner) for number in numbers]
    types = {evidence.module(evidence.by_name[one[1]]).type for one in owners if one}
    holders = [module for module in evidence.trace.modules if module.type in types]
    places = [f"{name}.{path}" for module in holders for name in module.names]
    found = {evidence.by_name[place] for place in places if place in evidence.by_name}
    working = {one for one in found if evidence.module(one).ran}
    others = [one for one in working if not evidence.module(one).passes_input]
    if set(others) <= set(numbers):
        return ""
    meant = [one for one in numbers if one in working]
    return f" ({len(meant)} of {len({*meant, *others})})"


def at_a_glance(names: Sequence[str]) -> str:
    """Write several names of modules as one, with so many as are read at a glance."""
    words = [index_path(name) for name in names]
    if len(words) > _MOST_WORDS:
        words = [words[0], f"{len(words) - 1} more names"]
    return " and ".join(words)


def spelled_out(evidence: Evidence, words: str, paths: Layers) -> str:
    """Write the numbers in place of "*" where the stack holds other layers too: "layers.0, 2"."""
    _, fitting = fitting_paths(evidence, paths)
    found = []
    for place, word in enumerate(words.split(".")):
        meant = {path.split(".")[place] for _, path in paths}
        is_part = word == "*" and not {path.split(".")[place] for path in fitting} <= meant
        is_short = is_part and len(meant) <= _MOST_WORDS
        found.append(", ".join(sorted(meant, key=int)) if is_short else word)
    return ".".join(found)


def fitting_paths(evidence: Evidence, paths: Layers) -> tuple[str, set[str]]:
    """Return the owner of a stack, and the paths of all modules that its name with * fits."""
    owner, _ = next(iter(paths))
    words = common_path([path for _, path in paths]).split(".")
    known = evidence.paths_by_class.get(owner, set()) if "*" in "".join(words) else set()
    rows = [(path, path.split(".")) for path in known]
    fitting = (
        path
        for path, parts in rows
        if len(parts) == len(words) and all(map(fits_word, parts, words))
    )
    return owner, set(fitting)


def fits_word(part: str, word: str) -> bool:
    """Whether a part of a path fits a word of `merged_words`."""
    stem, star, rest = word.partition("*")
    if not star:
        return part == word
    middle = part.removesuffix(rest)
    return part.endswith(rest) and (middle.startswith(stem) if stem else middle.isdigit())


def common_path(paths: Sequence[str]) -> str:
    """Return dotted paths as one, with * where they differ."""
    parts = [path.split(".") for path in paths]
    if len({len(part) for part in parts}) > 1:
        return "*"
    columns = [sorted(set(column)) for column in zip(*parts, strict=True)]
    return ".".join(map(merged_words, columns))


def merged_words(words: Sequence[str]) -> str:
    """Return one word for several: itself, "*" for numbers, "layer*" for layer1 and layer2."""
    if len(words) == 1:
        return words[0]
    stems, keys = (
        {word.partition("[")[0] for word in words},
        {word.partition("[")[2] for word in words},
    )
    if len(stems) > 1 and len(keys) == 1 and all(keys):  # "0['norm']" and "1['norm']"
        return f"{merged_words(sorted(stems))}[{keys.pop()}"
    if len(stems) == 1 and all(word.endswith("]") for word in words):
        return f"{stems.pop()}[*]"
    if all(word.isdigit() for word in words):
        return "*"
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*words, strict=False))
    return "".join(letters[0] for letters in same) + "*"
