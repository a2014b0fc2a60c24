"""`harness rescore`: a run's answers extracted again, without a model."""

from __future__ import annotations

import sys
from typing import Annotated

from harness.cli.commands import App
from harness.cli.options import AsJson, RunArgument
from harness.core.declarations import Option
from harness.core.judge_options import JudgeOptions

app = App()


@app.command(
    epilog="Example:\n\nharness rescore runs/scienceqa/moondream/test --extractor paper-base"
)
def rescore(
    run: RunArgument,
    *,
    extractor: Annotated[
        str,
        Option(
            "Extractor of the answers: ours, paper-base, paper-kd or lmms-eval.", default="ours"
        ),
    ],
    task: Annotated[
        str | None,
        Option(
            "File of the task, for a run of ./mine.py. Default: the task that the run names.",
            default=None,
        ),
    ],
    judging: JudgeOptions,
    as_json: AsJson,
) -> None:
    """Extract a run's answers again and score them again, without the model that wrote them.

    An extractor other than ours makes a run of its own.
    """
    from harness.cli.printing import print_result
    from harness.core.progress import make
    from harness.run.folder import RunFolder
    from harness.run.judging import check_judge, judged
    from harness.run.rescoring import rescore as extract_again
    from tasks import load_task

    folder = RunFolder(run)
    record = folder.existing_record()
    chosen = load_task(task or record.task.name)
    check_judge(judging, chosen)
    made = extract_again(
        folder,
        chosen,
        extractor=extractor,
        command=["harness", *sys.argv[1:]],
        progress=make,
    )
    print_result(judged(made, chosen, judging, progress=make), as_json=as_json)
