"""What a shell offers for the value of an option: names that begin as what was typed."""

from __future__ import annotations


def complete_models(incomplete: str) -> list[tuple[str, str]]:
    """The catalogue's rows that begin so, and what each is."""
    from harness.checkpoints.catalog import CATALOG

    return [
        (row.name, f"{row.title} {row.size}") for row in CATALOG if row.name.startswith(incomplete)
    ]


def complete_objectives(incomplete: str) -> list[tuple[str, str]]:
    """The training objectives that begin so, and what each trains on."""
    from distill.objectives import OBJECTIVES

    return [
        (name, objective.title)
        for name, objective in OBJECTIVES.items()
        if name.startswith(incomplete)
    ]


def complete_tasks(incomplete: str) -> list[str]:
    """The tasks, and the groups of tasks, that begin so."""
    from tasks import TASKS, groups

    return [name for name in (*TASKS, *groups.names()) if name.startswith(incomplete)]
