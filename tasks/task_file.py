"""Which lines of a user's task file decide what a model is asked, and which only what its answers
come to: a run whose questions changed is another run, one whose extraction changed is extracted
again.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

AFTER = frozenset({"extract", "read", "about", "metrics", "title"})
"""The fields of a Task that are used after an answer; `read` is the former name of `extract`."""


def asking_part(source: str | bytes) -> str:
    """The statements of a task file that what is asked depends on, without comments, docstrings and
    layout: those that `TASK` reaches by names other than in `AFTER`, and all that are neither
    definitions nor assignments.

    Raises:
        SyntaxError: the file is no Python.
    """
    statements = ast.parse(source).body
    defining: dict[str, list[ast.stmt]] = defaultdict(list)
    kept: set[ast.stmt] = set()
    for statement in statements:
        names = list(_defined(statement))
        for name in names:
            defining[name].append(statement)
        if not names:
            kept.add(statement)
        elif "TASK" in names:
            kept.add(_without_after(statement))
    reached: set[str] = set()
    waiting = [name for statement in kept for name in _used(statement)]
    while waiting:
        name = waiting.pop()
        if name in reached or name == "TASK":
            continue
        reached.add(name)
        kept.update(defining[name])
        waiting += [used for statement in defining[name] for used in _used(statement)]
    in_order = [_bare(statement) for statement in statements if statement in kept]
    return "\n".join(ast.unparse(statement) for statement in in_order if statement)


def _defined(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement binds, and nothing else that it does; none where it does more."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        names = [(alias.asname or alias.name).partition(".")[0] for alias in statement.names]
        yield from names if "*" not in names else ()
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if all(isinstance(target, ast.Name) for target in targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _used(statement: ast.stmt) -> Iterable[str]:
    return (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))


def _without_after(statement: ast.stmt) -> ast.stmt:
    """The statement that makes the task, changed in place: without what comes after an answer."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in AFTER]
    return statement


def _bare(statement: ast.stmt) -> ast.stmt | None:
    """The statement without docstrings; None where it is nothing but a text."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return None
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body[0] = ast.copy_location(ast.Pass(), first)
    return statement
