"""A task with its samples, loaded once and used for every model of a command."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from harness.core.errors import DataError
from harness.core.types import DataOptions, Sample, SampleSet, Task
from harness.data.fingerprint import Digests, ImageScan, scan_images
from harness.data.fingerprint import fingerprint as data_fingerprint
from harness.data.shots import Shots
from harness.data.sources import default_split

log = logging.getLogger(__name__)


class Data:
    """A task with its samples, loaded once and used for every model of a command."""

    def __init__(self, task: Task, options: DataOptions) -> None:
        self.task = task
        split = options.split or default_split(options, task.split)
        self.options = replace(options, split=split)
        self._examples: dict[int, Shots] = {}

    @cached_property
    def samples(self) -> SampleSet:
        loaded = self.task.load(self.options)
        for note in loaded.notes:
            log.warning("%s", note)
        return loaded

    @property
    def own_title(self) -> str:
        """What the questions are called that are the user's own, by their folder or file; "": they
        are the task's published data set, or a copy of it."""
        path = self.options.path
        return "" if path is None or self.samples.licence else path.stem

    def examples(self, number: int) -> Shots:
        """For each question, `number` others of the train split, answered; raises HarnessError."""
        if number not in self._examples:
            self._examples[number] = Shots(self.task, self._train() if number else (), number)
        return self._examples[number]

    def _train(self) -> Sequence[Sample]:
        try:
            options = replace(self.options, split="train", text_only=True)
            return self.task.load(options).samples
        except DataError as error:
            raise DataError(
                f"--shots shows questions of the train split. {error.what}",
                known=error.known,
                remedy="Leave --shots out, or add a train split to the data.",
            ) from error

    @cached_property
    def image_scan(self) -> ImageScan:
        """What is known of the pictures; a log line where transparent parts change them."""
        scan = scan_images(self.samples.samples)
        if scan.blended:
            log.info("%d pictures have transparent parts: blended on white.", scan.blended)
        if scan.dropped:
            log.info(
                "%d pictures have transparent parts: transparency is dropped, as the paper's code "
                "does.",
                scan.dropped,
            )
        if scan.flat:
            log.warning(
                "%d of them become one flat colour by it: %s",
                len(scan.flat),
                ", ".join(scan.flat[:5]) + (" ..." if len(scan.flat) > 5 else ""),
            )
        return scan

    @property
    def digests(self) -> Digests:
        return self.image_scan.digests

    @cached_property
    def fingerprint(self) -> str:
        return f"sha256:{data_fingerprint(self.samples.samples, self.digests)}"
