"""The architecture holds: a module imports only from its own stage or an earlier one."""

import ast
from pathlib import Path

import antifragile

ROOT = Path(antifragile.__file__).parent
STAGES = {
    "errors": 0,
    "_optional": 0,
    "_files": 0,
    "_lazy": 0,
    "_records": 0,
    "config": 1,
    "data": 2,
    "model": 3,
    "optim": 4,
    "engine": 5,
    "fleet": 6,
    "store": 7,
    "study": 8,
    "analysis": 9,
    "ablate": 10,
    "report": 11,
    "cli": 12,
    "__init__": 13,
    "__main__": 13,
}


def test_every_module_has_a_stage() -> None:
    parts = {path.stem if path.is_file() else path.name for path in ROOT.iterdir()}
    assert parts - {"py.typed", "__pycache__", "py"} <= set(STAGES)


def test_imports_never_point_to_a_later_stage() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {target}"
        for path in ROOT.rglob("*.py")
        for target in imported_parts(path)
        if STAGES[target] > STAGES[part_of(path)]
    ]
    assert wrong == []


def test_config_does_without_torch() -> None:
    users = [
        path.name
        for path in (ROOT / "config").glob("*.py")
        if any(name.split(".")[0] == "torch" for name in imported_names(path))
    ]
    assert users == []


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported_parts(path: Path) -> set[str]:
    names = [name.split(".") for name in imported_names(path)]
    return {parts[1] for parts in names if parts[0] == "antifragile" and parts[1:2]} & set(STAGES)


def imported_names(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found
