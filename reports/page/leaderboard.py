"""The leaderboard: one self-contained HTML page that opens from disk, without network or server.

The page says what was measured and what the paper reports, never mixed; it is rendered by Jinja
with autoescape, and a content security policy allows its own style and script and nothing else.
The same records give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from hashlib import sha256
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.core.errors import HarnessError
from harness.run.records import RunRecord
from reports.charts import geometry
from reports.distillation.panel import panel
from reports.inputs.material import Material, Pictures, RunData, SampleChoice
from reports.inputs.paper import load
from reports.numbers import counted
from reports.page.cache import page_cache
from reports.page.images import address
from reports.page.provenance import Provenance, provenance
from reports.page.reading import Reader
from reports.page.samples.groups import Group, collect
from reports.page.samples.payload import begin, payload
from reports.page.saved_files import SavedFiles, as_bytes, in_base64
from reports.page.saved_files import address as address_of
from reports.page.sections import TaskSection, order, overview, sections, tested
from reports.page.summary import evidence, summary
from reports.statistics.answers import Answers
from reports.tables.heatmap import POINTS
from reports.tables.paper_order import PaperOrder
from reports.tables.table import KINDS, condensed
from tasks import scienceqa, vqaonline

__all__ = ["TaskSection", "render", "sections"]

STYLES = ("style.css", "tables.css", "samples.css")
SCRIPTS = (
    "script.js",
    "address.js",
    "names.js",
    "answers.js",
    "paired.js",
    "scores.js",
    "samples.js",
    "links.js",
)
"""Each put together as one element, which the page's policy knows by its hash."""


DATA_SETS = {"scienceqa": scienceqa, "vqaonline": vqaonline}
"""Published data sets: task -> the module that knows their repository and their authors."""


def render(
    material: Material,
    *,
    generated: str | None = None,
    samples: SampleChoice = "all",
    pictures: Pictures | None = None,
) -> str:
    """The page.

    Args:
        material: what was measured, in any order.
        generated: when the page was made, in words; by default the time in SOURCE_DATE_EPOCH, and
            nothing where that is not set, so that the same records give the same bytes.
        samples: those that can be looked at.
        pictures: where to look for their pictures; None: the page has none.

    Raises:
        HarnessError: SOURCE_DATE_EPOCH is no time.
    """
    paper = load()
    material = replace(material, runs=sorted(material.runs, key=lambda run: order(run.record)))
    ordered = material.records
    with Reader(page_cache()) as reader:
        answers, groups = _read_answers(reader, material.runs)
        begun = begin(groups, samples=samples, pictures=pictures, packing=reader.pack)
        shown_sections = sections(ordered, answers)  # while other processes pack
        panels = [
            panel(
                each, answers, partial(tested, shown_sections), picture=partial(_picture, pictures)
            )
            for each in sorted(material.distillations, key=lambda each: each.name)
        ]
        packed = payload(material, begun, pictures)
    tasks = {str(run.task.name) for run in ordered}
    template = _environment().get_template("leaderboard.html.j2")
    asked = summary(shown_sections, panels, paper)
    return template.render(
        **_style_and_script(),
        paper=paper,
        sections=shown_sections,
        panels=panels,
        overview=overview(shown_sections),
        summary=asked,
        orders=_orders(shown_sections),
        said_of=partial(evidence, asked),
        points=POINTS.legend,
        measured_runs=len(ordered),
        provenances=[_provenance(run) for run in ordered],
        attributions=[data.ATTRIBUTION for task, data in DATA_SETS.items() if task in tasks],
        generated=_source_date() if generated is None else generated,
        kinds=KINDS,
        condensed=condensed,
        counted=counted,
        frame=geometry,
        saved_files=SavedFiles(),
        record_address=_record_address,
        payload=packed,
    )


def _orders(found: Sequence[TaskSection]) -> list[PaperOrder]:
    """The paper's orders and those of its minis; none on a page that shows other runs too."""
    only_minis = all(section.label for section in found if section.runs)
    return [each.order for each in found if each.order] if only_minis else []


def _read_answers(
    reader: Reader, runs: Sequence[RunData]
) -> tuple[dict[str, Answers], list[Group]]:
    """Scores by run id, and the runs in groups."""
    answers: dict[str, Answers] = {}
    groups: list[Group] = []
    for found in reader.read(runs):
        if found.answers:
            answers[found.answers.run] = found.answers
        collect(groups, found.source, found.columns)
    return answers, groups


def _style_and_script() -> dict[str, str]:
    """The page's own files, and the policy that allows them and nothing else."""
    files = resources.files("reports.page") / "templates"
    style, script = (
        "\n".join((files / name).read_text(encoding="utf-8") for name in names)
        for names in (STYLES, SCRIPTS)
    )
    policy = (
        "default-src 'none'",
        f"script-src '{_hash(script)}'",
        f"style-src '{_hash(style)}'",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return {
        "policy": "; ".join(policy),
        "style": Markup(style),  # noqa: S704  # our own file, not a record's string
        "script": Markup(script),  # noqa: S704  # as above
    }


@cache
def _environment() -> Environment:
    """The templates, compiled once a process."""
    return Environment(
        loader=PackageLoader("reports.page"),
        autoescape=True,  # the default is False, and select_autoescape() misses .html.j2
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _hash(text: str) -> str:
    """The source expression by which a content security policy knows an inline element."""
    return "sha256-" + in_base64(sha256(text.encode()).digest())


def _source_date() -> str:
    """The time in SOURCE_DATE_EPOCH, in UTC; empty where it is not set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return ""
    try:
        return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError) as error:
        raise HarnessError(
            f"SOURCE_DATE_EPOCH is {epoch!r}, which is no time.",
            remedy="Give it in seconds since 1970, or unset it.",
        ) from error


def _provenance(run: RunRecord) -> Provenance:
    data = DATA_SETS.get(str(run.task.name))
    return provenance(run, dataset=data.REPO if data else None)


def _record_address(record: str) -> str:
    """The address that holds a run's record."""
    return address_of("application/json", as_bytes(record))


def _picture(pictures: Pictures | None, digests: Sequence[str]) -> str:
    """The address of the first of these images that is found."""
    if pictures is None:
        return ""
    found = (pictures.find(digest) for digest in digests if digest)
    return next((text for image in found if image and (text := address(image))), "")
