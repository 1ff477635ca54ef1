"""Copies of the user's code that report every numbered site while they run.

Each site `E` becomes a call of a reporter that evaluates it as before and takes notes:

    f(x)      ->  __af_call__(KEY, f, x)
    a + b     ->  __af_binary__(KEY, "+", a, b)
    m.weight  ->  __af_attribute__(KEY, m, "weight")
    m.ps[i]   ->  __af_item__(KEY, m.ps, i)
    out += y  ->  out += __af_operand__(KEY, "+=", out, y); __af_done__(KEY, out)

KEY is the site's file and number. Line numbers stay, so that tracebacks still point into the
user's file. An import hook serves the copies; nothing is written to disk.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from antifragile.ablate.source.syntax import SIGNS, SourceFile, sites_of
from antifragile.ablate.source.text import parsed

Hooks = Mapping[str, object]  # the functions `__af_*__` that instrumented code calls


class _Instrumenter(ast.NodeTransformer):
    """Wraps numbered sites; children first, so that numbers stay those of the original tree."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self.keys = {node: (file, number) for number, node in enumerate(sites_of(tree))}

    def _hook(self, name: str, node: ast.AST, *arguments: ast.expr) -> ast.Call:
        key = ast.Tuple([ast.Constant(part) for part in self.keys[node]], ast.Load())
        call = ast.Call(ast.Name(name, ast.Load()), [key, *arguments], [])
        return ast.copy_location(call, node)

    def visit(self, node: ast.AST) -> Any:
        """Wrap a numbered site; of all else, only what lies below it."""
        return super().visit(node) if node in self.keys else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        call = self._hook("__af_call__", node, node.func, *node.args)
        call.keywords = node.keywords
        return call

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        sign = ast.Constant(SIGNS[type(node.op)])
        return self._hook("__af_binary__", node, sign, node.left, node.right)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        return self._hook("__af_attribute__", node, node.value, ast.Constant(node.attr))

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        return self._hook("__af_item__", node, node.value, node.slice)

    def visit_AugAssign(self, node: ast.AugAssign) -> list[ast.stmt]:
        node.value = self.visit(node.value)
        target = ast.parse(ast.unparse(node.target), mode="eval").body
        sign = ast.Constant(f"{SIGNS[type(node.op)]}=")
        node.value = self._hook("__af_operand__", node, sign, target, node.value)
        note = ast.Expr(self._hook("__af_done__", node, target))
        return [node, ast.copy_location(note, node)]


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads the reporting copy of one source file."""

    def __init__(self, name: str, path: str, source: SourceFile, hooks: Hooks) -> None:
        super().__init__(name, path)
        self.source = source
        self.hooks = hooks

    def get_code(self, fullname: str) -> CodeType:
        """Compile the reporting copy afresh: no bytecode is read or written."""
        tree = parsed(self.source.text)
        changed = ast.fix_missing_locations(_Instrumenter(self.source.file, tree).visit(tree))
        return compile(changed, self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its hooks, then run it."""
        vars(module).update(self.hooks)
        super().exec_module(module)


class ReportingFinder(importlib.abc.MetaPathFinder):
    """An import hook that serves the reporting copies of some files."""

    def __init__(self, sources: Mapping[Path, SourceFile], hooks: Hooks) -> None:
        self.sources = sources
        self.hooks = hooks

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as usual; take over when its file is one of ours."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        source = self.sources.get(Path(spec.origin).resolve())
        if source is not None:
            spec.loader = _Loader(fullname, spec.origin, source, self.hooks)
        return spec if source is not None else None

    def install(self) -> None:
        """Put this finder before every other one of the process."""
        sys.meta_path.insert(0, self)
