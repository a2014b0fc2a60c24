"""`harness distill analyse`: how a run's structured answers are built, and where they go wrong."""

from __future__ import annotations

from harness.cli.commands import App
from harness.cli.distill.printing import print_values
from harness.cli.options import AsJson, RunArgument
from harness.core.terminal import print_json, say

app = App()


@app.command(epilog="Example:\n\nharness distill analyse runs/scienceqa/moondream-kd/test")
def analyse(run: RunArgument, *, as_json: AsJson) -> None:
    """How many of a run's answers have all tags, and how many wrong ones a right reasoning."""
    from distill.quality.answers import reasoning_to_error, structure
    from distill.quality.record import measure_run
    from harness.run.folder import RunFolder

    folder = RunFolder(run)
    record = folder.existing_record()
    predictions = folder.read_predictions()
    errors = reasoning_to_error(predictions)
    if as_json:
        found = measure_run(predictions)
        counts = {"answers": errors.answers, "wrong": errors.wrong}
        ids = list(errors.sample_ids)
        print_json({"run": str(run), **counts, "reasoning_to_error": ids, **found})
        return
    print_values(f"{record.model.title} on {record.task.words}", structure(predictions))
    say(
        f"Of {errors.answers} answers {errors.wrong} are wrong, {errors.with_reasoning} of these "
        f"have a reasoning, and {len(errors.sample_ids)} of those reason rightly"
        f"{': ' if errors.sample_ids else '.'}{', '.join(map(ascii, errors.sample_ids[:20]))}"
    )
