"""Task files that were written before the modules had their present names: they load as they are.

A user's file is parsed before it runs; its imports from former modules become imports from the
present ones, and `read=` of a Task becomes `extract=`. What it says otherwise stays as it is.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import MappingProxyType

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "harness.errors": "harness.core.errors",
        "harness.images": "harness.core.images",
        "harness.metrics": "harness.metrics.former",
        "harness.metrics.choice": "harness.metrics.former",
        "harness.prompts": "harness.core.prompts",
        "harness.reading": "harness.extract",
        "harness.statistics": "harness.metrics.statistics",
        "harness.structured": "harness.core.structured",
        "harness.text_metrics": "harness.metrics.overlap",
        "harness.types": "harness.core.types",
        "tasks.schema": "harness.data.schema",
        "tasks.sources": "harness.data.sources",
        "tasks.splits": "harness.data.splits",
    }
)
"""Former module -> the module that has its names now."""
NAMES: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType(
    {
        ("harness.types", "Reading"): ("harness.core.types", "Extraction"),
        ("harness.reading", "read_choice"): ("harness.extract", "extract_choice"),
        ("harness.reading", "read_open"): ("harness.extract", "extract_open"),
        ("harness.types", "Metric"): ("harness.core.types", "RunMetric"),
        ("tasks.files", "Row"): ("harness.data.rows", "Row"),
    }
)
"""(former module, name) -> the module and the name now."""
_MAKES_TASKS = frozenset({"Task", "replace"})


def present(source: bytes, path: str) -> ast.Module:
    """A task file with the present names; line numbers stay.

    Raises:
        SyntaxError: the file is no Python.
    """
    tree: ast.Module = _Present().visit(ast.parse(source, filename=path))
    return ast.fix_missing_locations(tree)


class _Present(ast.NodeTransformer):
    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.ImportFrom]:
        module = node.module or ""
        if node.level or not _is_former(module):
            return node
        parts = []
        for alias in node.names:
            now, name = NAMES.get((module, alias.name), (MODULES.get(module, module), alias.name))
            called = alias.asname or (alias.name if name != alias.name else None)
            part = ast.ImportFrom(now, [ast.alias(name, called)], 0)
            parts.append(ast.copy_location(part, node))
        return parts

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        function = node.func.attr if isinstance(node.func, ast.Attribute) else None
        if isinstance(node.func, ast.Name):
            function = node.func.id
        if function in _MAKES_TASKS:
            for keyword in node.keywords:
                keyword.arg = "extract" if keyword.arg == "read" else keyword.arg
        return node


def _is_former(module: str) -> bool:
    return module in MODULES or any(module == former for former, _ in NAMES)
