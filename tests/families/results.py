"""The results of all families, and the table of docs/models.md that is made from them.

`python -m tests.families.results` asks every family anew, and writes both.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.families.checkpoint import Family
from tests.families.dozen import DOZEN
from tests.families.extra_packages import EXTRA_PACKAGES
from tests.families.observe import Outcome, observe
from tests.families.templated import TEMPLATED
from tests.families.untemplated import UNTEMPLATED

ALL: Mapping[str, Family] = {**DOZEN, **TEMPLATED, **UNTEMPLATED, **EXTRA_PACKAGES}
RESULTS = Path(__file__).with_name("results.json")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- families: begin -->", "<!-- families: end -->"
_DECODERS = {"harness": "engine", "transformers": "`generate`"}


def verdict(family: Family, outcome: Outcome) -> dict[str, Any]:
    """What is the same on every machine."""
    worst = max(outcome.letters, outcome.texts)
    return {
        "model_type": outcome.model_type,
        "class": family.architecture,
        "decoder": outcome.decoder,
        "batches": outcome.batches,
        "prompt": "documented prompt" if family.image is None else "chat template",
        "picture": "required" if family.needs_picture else "optional",
        "asked": outcome.asked,
        "equal": min(outcome.equal.values()),
        "options": "equal" if worst < 1e-4 else "differ",
        "packages": list(family.packages),
    }


def recorded() -> dict[str, dict[str, Any]]:
    """The results that are part of the repository."""
    found: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())
    return found


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of the docs."""
    lines = [
        "| type | class | decoded by | in one batch | prompt | picture | answers | options | needs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        answers = "equal" if row["equal"] == row["asked"] else f"{row['equal']} of {row['asked']}"
        cells = [f"`{name}`", f"`{row['class']}`", _DECODERS[row["decoder"]], row["batches"]]
        cells += [row["prompt"], row["picture"], answers, row["options"]]
        cells.append(", ".join(row["packages"]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(page: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with this table between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table(results)}\n{END}{rest.split(END)[1]}"


def main(names: list[str]) -> None:
    """Ask the families of these names, or all."""
    results = recorded() if RESULTS.exists() else {}
    for name in names or ALL:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = verdict(ALL[name], observe(ALL[name], Path(folder) / name))
        sys.stdout.write(f"{name}: {results[name]}\n")
        sys.stdout.flush()
    results = {name: results[name] for name in ALL if name in results}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    DOCS.write_text(with_table(DOCS.read_text(), results))


if __name__ == "__main__":
    main(sys.argv[1:])
