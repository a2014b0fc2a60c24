"""What rationales must have been made with to belong together: of all teachers, and of each.

Where several teachers are asked, what belongs to one has its name in the record: "weights of
llava-cot". One teacher's stands there without, as it always did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.mismatch import LATER

_OF = " of "
_SHARED = frozenset(
    [
        *("task", "split", "data", "transparency", "sample", "imported"),
        *("teacher_input", "prompt_version", "truncate", "sampling"),
    ]
)
"""Fields that are no teacher's own."""


def names_of(record: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The teachers of rationales.json, by name; none where they come from a file, or where there is
    no record."""
    if record is None or "imported" in record["fingerprint"]:
        return ()
    several: Sequence[Mapping[str, Any]] = record.get("teachers") or [record["teacher"]]
    return tuple(each["name"] for each in several)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is known so far of what texts are made with."""

    shared: Mapping[str, Any]
    teachers: Mapping[str, Mapping[str, Any]]
    """Name -> what is known of a teacher; empty: the texts come from a file."""

    def against(self, record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fingerprint of an earlier record, and this one, to be compared: a teacher that only
        one of them has is no difference, and its name none where each has one."""
        before = dict(record["fingerprint"])
        old_names = names_of(record)
        if len(old_names) <= 1 and len(self.teachers) <= 1:
            now = self._flat()
        else:
            before, now = _by_name(before, old_names), self._named(old_names)
        if "sampling" in now:
            # Until now nothing was sampled: a second attempt may be added.
            before.setdefault("sampling", now["sampling"])
        for key in LATER:
            for name in old_names:
                before.setdefault(f"{key}{_OF}{name}", now.get(f"{key}{_OF}{name}"))
        return before, now

    def merged(self, record: Mapping[str, Any] | None) -> dict[str, Any]:
        """What the record holds: this and what an earlier record has in addition."""
        before: Mapping[str, Any] = record["fingerprint"] if record else {}
        old_names = names_of(record)
        if len(old_names) <= 1 and len(self.teachers) <= 1:
            return {**before, **self._flat()}
        return {**_by_name(before, old_names), **self._named(tuple(self.teachers))}

    def _flat(self) -> dict[str, Any]:
        return {**self.shared, **next(iter(self.teachers.values()), {})}

    def _named(self, names: Sequence[str]) -> dict[str, Any]:
        """With the name of each teacher; only those of `names`."""
        own = {name: each for name, each in self.teachers.items() if name in names}
        return {**self.shared, **dict(_own(own))}


def _by_name(fingerprint: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A recorded fingerprint with the name of its teacher, where it had only one."""
    if len(names) != 1:
        return dict(fingerprint)
    shared = {key: value for key, value in fingerprint.items() if key in _SHARED}
    own = {key: value for key, value in fingerprint.items() if key not in _SHARED}
    return {**shared, **dict(_own({names[0]: own}))}


def _own(teachers: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, known in teachers.items():
        for key, value in known.items():
            yield f"{key}{_OF}{name}", value
