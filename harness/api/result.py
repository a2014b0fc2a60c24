"""A run as a value: its metrics, its predictions, and how it shows itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, overload

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Value
from harness.run.figure_text import by_topic, figure, interval, title
from harness.run.folder import RunFolder
from harness.run.means import Mean, means
from harness.run.records import RunRecord
from harness.run.scores import scored_predictions

if TYPE_CHECKING:
    import pandas as pd

    from harness.api.several import Failure


@dataclass(frozen=True, repr=False)
class Run:
    """A run that was made or loaded."""

    folder: Path
    """With run.json and predictions.jsonl. A temporary one is removed with this object."""
    record: RunRecord
    """What run.json holds."""
    _temporary: TemporaryDirectory[str] | None = field(default=None, compare=False)

    @property
    def metrics(self) -> Mapping[str, Value]:
        """Each metric by name; shares are fractions, 0 to 1."""
        return self.record.metrics

    @cached_property
    def predictions(self) -> list[Prediction]:
        """One for each question, in the data's order, with what each metric gave its answer."""
        return scored_predictions(self.record, RunFolder(self.folder).existing_predictions())

    @property
    def n(self) -> int:
        """Questions that were answered."""
        return self.record.counts.done - self.record.counts.failed

    def to_pandas(self) -> pd.DataFrame:
        """The predictions, a row each, with a column for each metric that scores them one by one.

        Raises:
            HarnessError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise HarnessError(
                "to_pandas() needs pandas, which is not installed.", remedy="pip install pandas"
            ) from error
        rows = [
            {**p.scores, "correct": p.correct, **asdict(p), "text": p.text}
            for p in self.predictions
        ]
        names = [each.name for each in fields(Prediction)] + ["text", "correct"]
        scores = dict.fromkeys(name for p in self.predictions for name in p.scores)
        return pd.DataFrame(rows, columns=list(dict.fromkeys([*names, *scores])))

    def __repr__(self) -> str:
        overall = [name for name in self.metrics if "/" not in name]
        record = self.record
        figures = ", ".join(f"{title(record, name)} {figure(record, name)}" for name in overall[:3])
        return f"<Run {self._title()}: {figures or 'no metrics'}>"

    def _title(self) -> str:
        record = self.record
        label = f", {record.label}" if record.label else ""
        return (
            f"{record.model.title} on {record.task.words} {record.task.split}, "
            f"n = {self.n:,}, {record.status}{label}"
        )

    def _repr_html_(self) -> str:
        """The metrics as a table, for notebooks."""
        rows = "".join(
            f"<tr><th scope='row'>{escape(topic or title(self.record, name))}</th>"
            f"<td>{figure(self.record, name)}</td><td>{interval(self.record, name)}</td>"
            f"<td>{self.metrics[name].n:,}</td><td>{escape(self.metrics[name].note)}</td></tr>"
            for name, topic in by_topic(self.record)
        )
        heads = "".join(
            f"<th scope='col'>{name}</th>" for name in ("metric", "value", "95% interval", "n", "")
        )
        return (
            f"<table><caption>{escape(self._title())}</caption>"
            f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )


class Runs(Sequence[Run]):
    """The runs of one model on several tasks, in the order of the tasks."""

    def __init__(self, runs: Sequence[Run], *, failures: Sequence[Failure] = ()) -> None:
        self._runs = tuple(runs)
        self.failures = tuple(failures)
        """The tasks of which there is no run, each with its error."""

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Run, ...]: ...
    def __getitem__(self, place: int | slice) -> Run | tuple[Run, ...]:
        return self._runs[place]

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def means(self) -> list[Mean]:
        """The mean of each metric that decides two tasks or more; unlike metrics have none."""
        return means(run.record for run in self._runs)

    def __repr__(self) -> str:
        lines = [_decisive_line(run) for run in self._runs]
        lines += [f"{each.task}: {each.error.what}" for each in self.failures]
        return "\n".join([*lines, *(mean.words for mean in self.means)])


def _decisive_line(run: Run) -> str:
    record, name = run.record, run.record.decisive
    if name is None or name not in record.metrics:
        return f"{record.task.name}: no score"
    return f"{record.task.name}: {title(record, name)} {figure(record, name)}, n {run.n:,}"
