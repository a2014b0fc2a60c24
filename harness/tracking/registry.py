"""Which trackers there are. This module alone lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType

from harness.core.errors import HarnessError
from harness.core.tracking_options import TrackerName, TrackingOptions
from harness.tracking import tensorboard, trackio, wandb
from harness.tracking.tracker import Start, TrackedRun, Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """One kind of tracker."""

    package: str
    start: Callable[[TrackedRun, Start], Tracker]
    check: Callable[[], None] = lambda: None
    """Refuses what would stop a run from being tracked; raises HarnessError."""


TRACKERS: Mapping[TrackerName, Registered] = MappingProxyType(
    {
        "wandb": Registered(package="wandb", start=wandb.start, check=wandb.check),
        "tensorboard": Registered(package="tensorboard", start=tensorboard.start),
        "trackio": Registered(package="trackio", start=trackio.start),
    }
)


def check_trackers(options: TrackingOptions) -> None:
    """Refuse trackers that cannot be used, before anything takes long.

    Raises:
        HarnessError: a package is missing, or a key.
    """
    for name in options.trackers:
        tracker = TRACKERS[name]
        if find_spec(tracker.package) is None:
            raise HarnessError(
                f"--track {name} needs the package {tracker.package}, which is not installed.",
                remedy=f"pip install 'harness-vlm[{name}]'",
            )
        tracker.check()
