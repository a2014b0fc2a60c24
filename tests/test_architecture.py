"""Who may import whom, and what must not be imported to say hello."""

from __future__ import annotations

import ast
import graphlib
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harness", "tasks", "distill", "reports")
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "evaluate",
    "bert_score",
    "pandas",
    "pyarrow",
    "scipy",
}
LAYERS = (
    "harness.core",
    "harness.synthetic",
    "harness.extract",
    "harness.checkpoints",
    "harness.engine",
    "harness.data",
    "harness.metrics",
    "harness.families",
    "harness.models",
    "harness.weights",
    "harness.remote",
    "harness.sources",
    "harness.tracking",
    "harness.run",
    "tasks",
    "distill",
    "reports",
    "harness.mini",
    "harness.api",
    "harness.cli",
)
"""From the ground up: what stands in a layer imports from its own and from those before it."""


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def text(module: str) -> str:
    return MODULES[module].read_text(encoding="utf-8")


@cache
def nodes(module: str) -> list[ast.AST]:
    """Every node of the module's syntax tree; the module itself is the first."""
    return list(ast.walk(ast.parse(text(module))))


@cache
def imports(module: str) -> set[str]:
    """Every module of ours that `module` imports, inside functions too."""
    found = set()
    for node in nodes(module):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative import"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name in MODULES else str(node.module) for name in inside)
    return found & set(MODULES) - {module}


def layer(module: str) -> int:
    """The place of the module's layer; the packages' own faces see what is below the commands."""
    if module in {"harness", "harness.__main__"}:
        return LAYERS.index("harness.api" if module == "harness" else "harness.cli")
    return next(
        place
        for place, name in enumerate(LAYERS)
        if module == name or module.startswith(f"{name}.")
    )


def test_imports_point_downwards() -> None:
    """A module imports from its own layer and from those below, wherever the import stands."""
    upwards = [
        f"{module} imports {name}"
        for module in MODULES
        for name in sorted(imports(module))
        if layer(name) > layer(module)
    ]
    assert not upwards


def test_no_module_imports_itself_in_a_circle() -> None:
    """Files can be put in an order in which each imports only what came before."""
    graphlib.TopologicalSorter({module: imports(module) for module in MODULES}).prepare()


def test_no_module_is_called_after_nothing() -> None:
    """A file is named after what it is for."""
    vague = {"utils", "util", "common", "helpers", "helper", "base", "misc"}
    assert not [module for module in MODULES if vague & set(module.split("."))]


@pytest.mark.parametrize(
    ("call", "where"),
    [
        ("fcntl.flock", "harness.core.files.locks"),
        ("fcntl.lockf", "harness.core.files.locks"),
        ("os.fsync", "harness.core.files"),
    ],
)
def test_locking_and_durable_writing_stand_in_one_place(call: str, where: str) -> None:
    """Every package goes through harness.core.files."""
    users = {
        module
        for module in MODULES
        for node in nodes(module)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == call
    }
    assert users
    assert all(module == where or module.startswith(f"{where}.") for module in users), users


def test_every_module_says_what_it_is_for() -> None:
    """A docstring opens every module that holds anything."""
    silent = [
        module
        for module in MODULES
        if text(module).strip() and not ast.get_docstring(nodes(module)[0])
    ]
    assert not silent


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["eval", "--help"], ["list", "models"], ["list", "tasks"], ["list", "runs"]],
    ids=" ".join,
)
@pytest.mark.process
def test_saying_hello_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    """Help and lists come at once: no torch, transformers, datasets or evaluate."""
    code = (
        "import sys; from harness import cli\n"
        f"sys.argv = ['harness', *{arguments!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as error: assert not error.code, error.code\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stderr.strip().endswith("HEAVY []")


@pytest.mark.process
def test_a_users_own_tasks_py_and_reports_folder_do_not_get_in_the_way(tmp_path: Path) -> None:
    """The console script works in a folder that has files of the same names as our packages."""
    (tmp_path / "tasks.py").write_text("raise SystemExit('the wrong tasks')")
    (tmp_path / "harness.py").write_text("raise SystemExit('the wrong harness')")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "__init__.py").write_text("raise SystemExit('the wrong reports')")
    script = Path(sys.executable).parent / "harness"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    for arguments in (["list", "tasks"], ["report", "--out", "page.html"]):
        subprocess.run(
            [script, *arguments], check=True, cwd=tmp_path, env=environment, capture_output=True
        )
    assert (tmp_path / "page.html").exists()


def test_nothing_runs_or_unpickles_what_others_supply() -> None:
    """No remote code, no pickle, no eval, anywhere in the packages."""
    for module in MODULES:
        assert "trust_remote_code=True" not in text(module), module
        for node in nodes(module):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {
                    "exec",
                    "eval",
                    "torch.load",
                    "pickle.load",
                    "pickle.loads",
                }, (
                    module,
                    node.lineno,
                )


def test_the_page_on_architecture_is_true() -> None:
    """Its table and its picture have the layers in their order; every file that it names is there."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z/]+)` \|", page.split("## The life of a sample")[0], re.MULTILINE)
    assert [row.replace("/", ".") for row in rows] == list(LAYERS)
    picture = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    names = re.findall(r'class="name" x="36" y="\d+">([a-z/]+)<', picture)
    assert names[::-1] == rows
    paths = {path for path in re.findall(r"`([a-z_/]+(?:\.py)?)`", page) if "/" in path}
    missing = {path for path in paths if not (ROOT / path).exists()}
    assert not missing


def test_files_and_functions_stay_short() -> None:
    """At most 500 lines a file, and 60 a function."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    files = [module for module in MODULES if len(text(module).splitlines()) > 500]
    too_long = [
        f"{module}: {node.name}"
        for module in MODULES
        for node in nodes(module)
        if isinstance(node, functions) and (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert not files + too_long
