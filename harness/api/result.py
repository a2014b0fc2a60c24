"""A run as a value: its metrics, its predictions, and how it shows itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.core.errors import HarnessError
from harness.core.types import Prediction, Value
from harness.run.folder import RunFolder
from harness.run.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd


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
        """One for each question, in the data's order."""
        return RunFolder(self.folder).existing_predictions()

    @property
    def n(self) -> int:
        """Questions that were answered."""
        return self.record.counts.done - self.record.counts.failed

    def to_pandas(self) -> pd.DataFrame:
        """The predictions, a row each.

        Raises:
            HarnessError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise HarnessError(
                "to_pandas() needs pandas, which is not installed.", remedy="pip install pandas"
            ) from error
        return pd.DataFrame([asdict(prediction) for prediction in self.predictions])

    def __repr__(self) -> str:
        figures = ", ".join(
            f"{name} {_figure(value.value)}" for name, value in list(self.metrics.items())[:3]
        )
        return f"<Run {self._title()}: {figures or 'no metrics'}>"

    def _title(self) -> str:
        record = self.record
        label = f", {record.label}" if record.label else ""
        return (
            f"{record.model.title} on {record.task.title} {record.task.split}, "
            f"n = {self.n:,}, {record.status}{label}"
        )

    def _repr_html_(self) -> str:
        """The metrics as a table, for notebooks."""
        rows = "".join(
            f"<tr><th scope='row'>{escape(name)}</th><td>{_figure(value.value)}</td>"
            f"<td>{_interval(value)}</td><td>{value.n:,}</td><td>{escape(value.note)}</td></tr>"
            for name, value in self.metrics.items()
        )
        heads = "".join(
            f"<th scope='col'>{name}</th>" for name in ("metric", "value", "95% interval", "n", "")
        )
        return (
            f"<table><caption>{escape(self._title())}</caption>"
            f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _figure(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"


def _interval(value: Value) -> str:
    if value.low is None or value.high is None:
        return "—"
    return f"{value.low:.4g} to {value.high:.4g}"
