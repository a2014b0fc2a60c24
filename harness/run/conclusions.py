"""Conclusions by likelihood: of a structured answer's options the one that is most likely after its
reasoning, in place of what the model wrote there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase

from harness.core import structured
from harness.core.devices import release_memory
from harness.core.errors import HarnessError, reason
from harness.core.types import Model, OptionForm, Output, Prompt, Sample
from harness.run.prompting import Prompter, Request


def option_texts(choices: Sequence[Sequence[str]], options: OptionForm) -> list[Sequence[str]]:
    """What is scored for each prompt with such choices."""
    if options == "text":
        return list(choices)
    return [ascii_uppercase[: len(each)] for each in choices]


def conclude(
    model: Model,
    prompter: Prompter,
    finished: Sequence[tuple[Sample, Output, int]],
) -> list[Output]:
    """The outputs, those that reason with the option that is most likely after the reasoning.

    Args:
        finished: each sample with its output, and the tokens that its prompt was shortened by.
    """
    outputs = [output for _, output, _ in finished]
    begun = {}
    for i, (sample, output, truncated) in enumerate(finished):
        reasons = sample.choices and structured.parse(output.raw).reasoning
        prompt = prompter.prompt(sample) if reasons else None
        if isinstance(prompt, Prompt) and truncated:
            shorter = prompter.check(sample, Request(prompt))
            prompt = shorter.prompt if isinstance(shorter, Request) else None
        if isinstance(prompt, Prompt):
            begun[i] = replace(prompt, answer_prefix=structured.up_to_conclusion(output.raw))
    prompts = list(begun.values())
    choices = []
    if prompts:
        texts = option_texts([prompt.choices for prompt in prompts], prompter.settings.options)
        choices = likelihoods(model, prompts, texts)
    for i, choice in zip(begun, choices, strict=True):
        outputs[i] = replace(
            outputs[i],
            log_likelihoods=choice.log_likelihoods,
            concluded=choice.raw,
            error=choice.error,
        )
    return outputs


def likelihoods(
    model: Model, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]
) -> list[Output]:
    """How likely each of its `texts` is after each prompt; a batch that fails is halved."""
    try:
        return model.choose(model.prepare(prompts), texts)
    except HarnessError:
        raise  # it is not about these samples
    except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row
        if len(prompts) == 1:
            return [Output("", "", None, None, error=reason(error))]
    free_memory()
    middle = len(prompts) // 2
    first = likelihoods(model, prompts[:middle], texts[:middle])
    return first + likelihoods(model, prompts[middle:], texts[middle:])


def free_memory() -> None:
    """Give back what a batch that failed has left on the accelerator."""
    import torch

    if accelerator := torch.accelerator.current_accelerator(check_available=True):
        release_memory(accelerator.type)
