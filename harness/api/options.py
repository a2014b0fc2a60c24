"""From the options of `harness eval`, given by name to a function, to the dataclasses of a run."""

from __future__ import annotations

import inspect
import json
import math
import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from harness.core.declarations import Option
from harness.core.errors import HarnessError
from harness.core.judge_options import JudgeOptions
from harness.core.options import GenerationOptions, ModelOptions, RunOptions, ServerOptions
from harness.core.suggestions import did_you_mean
from harness.core.tracking_options import TrackingOptions
from harness.core.types import DataOptions

_OWNERS = (
    *(DataOptions, ModelOptions, ServerOptions, GenerationOptions, TrackingOptions),
    *(JudgeOptions, RunOptions),
)
IN_PLACE = frozenset({"weights", "size", "adapter", "quantize", "model_revision"}) | frozenset(
    {"device", "device_map", "dtype", "attn"}
)
"""What is settled for a model that is in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The options of one run."""

    data: DataOptions
    model: ModelOptions
    run: RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One option as its dataclass declares it."""

    owner: type
    field: str
    option: Option
    hint: Any
    default: Any
    """As on the command line; `inspect.Parameter.empty`: it has to be given."""


@cache
def declared() -> Mapping[str, tuple[Declared, ...]]:
    """Every option by its name, with _ for -; `runs` belongs to two dataclasses."""
    found: dict[str, tuple[Declared, ...]] = {}
    for owner in _OWNERS:
        hints = get_type_hints(owner, include_extras=True)
        for each in fields(owner):
            hint = hints[each.name]
            if get_origin(hint) is not Annotated:
                continue
            option = next((note for note in get_args(hint)[1:] if isinstance(note, Option)), None)
            if option is None:
                continue
            name = (option.flag or each.name).replace("-", "_")
            entry = Declared(
                owner=owner,
                field=each.name,
                option=option,
                hint=get_args(hint)[0],
                default=_default(each, option),
            )
            found[name] = (*found.get(name, ()), entry)
    return found


def _default(each: Field[Any], option: Option) -> Any:
    if option.default is not ...:
        return option.default
    if each.default is not MISSING:
        return each.default
    return None if each.default_factory is not MISSING else inspect.Parameter.empty


def signature(function: Any) -> inspect.Signature:
    """The function's signature with every option in the place of `**options`."""
    own = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    named = {parameter.name for parameter in own}
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.hint
        )
        for name, (one, *_) in declared().items()
        if name not in named
    ]
    return inspect.Signature([*own, *options])


def choose(given: Mapping[str, Any], *, model: str, task: str, in_place: bool) -> Chosen:
    """The dataclasses that the options fill.

    Args:
        given: by name, only those that were given.
        model: as `--model` takes it.
        task: as `--task` takes it, for the record.
        in_place: the model is in memory, and what concerns its loading does nothing.

    Raises:
        HarnessError: an option that does not exist, does not fit, or does nothing.
    """
    _refuse_unknown(given, declared())
    if given.get("revision") and given.get("data"):
        raise HarnessError("revision applies only to the Hub data set; remove it or data.")
    if in_place and (idle := sorted(IN_PLACE & given.keys())):
        raise HarnessError(
            f"{idle[0]} does nothing for a model that is in memory.", remedy="Leave it out."
        )
    values = {name: one.default for name, (one, *_) in declared().items()}
    values = {**values, **given, "model": model}
    for name in given:
        for need in declared()[name][0].option.needs:
            if not need.met(values):
                raise HarnessError(
                    f"{name} does nothing without {need.words.format(model='model')}."
                )
    filled: dict[type, dict[str, Any]] = {owner: {} for owner in _OWNERS}
    for name, entries in declared().items():
        if name not in given and entries[0].default is None:
            continue  # the dataclass has its own
        for entry in entries:
            filled[entry.owner][entry.field] = _fitted(name, values[name], entry)
    return Chosen(
        data=DataOptions(**filled[DataOptions]),
        model=ModelOptions(**filled[ModelOptions], server=ServerOptions(**filled[ServerOptions])),
        run=RunOptions(
            **filled[RunOptions],
            generation=GenerationOptions(**filled[GenerationOptions]),
            tracking=TrackingOptions(**filled[TrackingOptions]),
            judging=JudgeOptions(**filled[JudgeOptions]),
            configuration=_configuration({**values, "model": [model], "task": [task]}),
        ),
    )


def _configuration(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options as `--config` reads them."""
    return {
        name.replace("_", "-"): _plain(value)
        for name, value in values.items()
        if name != "fresh" and value is not None and value not in ((), [], {})
    }


def _plain(value: Any) -> Any:
    """As TOML and JSON have it."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return [f"{key}={json.dumps(one)}" for key, one in value.items()]
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else str(value)


def _refuse_unknown(given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known or name == "model":
            raise HarnessError(
                f"There is no option {name!r}.{did_you_mean(name, known)}",
                known=f"The options are {', '.join(sorted(known))}.",
            )


def _fitted(name: str, value: Any, entry: Declared) -> Any:
    """The value as its field takes it; raises HarnessError."""
    option = entry.option
    allowed = _choices(option.given)
    if allowed and isinstance(value, str):
        _refuse_other(name, value, allowed)
    if option.parse and isinstance(value, str | list | tuple):
        try:
            value = option.parse(value)
        except ValueError as error:
            raise HarnessError(f"{name}: {error}") from error
    kinds = get_args(entry.hint) if _is_union(entry.hint) else (entry.hint,)
    if Path in kinds and isinstance(value, str):
        value = Path(value)
    if not any(_is_one(value, kind) for kind in kinds):
        _refuse_other(name, value, [one for kind in kinds for one in _choices(kind)], kinds)
    low, high = option.minimum, option.maximum
    if isinstance(value, int | float) and not isinstance(value, bool):
        small, large = low is not None and value < low, high is not None and value > high
        if small or large or not math.isfinite(value):
            bounds = " and ".join(
                f"at {end} {bound:g}" for end, bound in (("least", low), ("most", high)) if bound
            )
            raise HarnessError(f"{name}={value!r}: it has to be {bounds or 'a finite number'}.")
    return value


def _refuse_other(
    name: str, value: Any, allowed: Collection[Any], kinds: Collection[Any] = ()
) -> None:
    """Raise HarnessError where the value is none of those that are allowed."""
    if value in allowed:
        return
    words = list(map(str, allowed)) or list(map(_words, kinds))
    raise HarnessError(
        f"{name}={value!r} does not fit.{did_you_mean(str(value), words)}",
        known=f"It takes {' or '.join(words)}.",
    )


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in {Union, types.UnionType}


def _choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _is_one(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    kind = get_origin(kind) or kind
    if kind is float:
        kind = int | float
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _words(kind: Any) -> str:
    return "None" if kind is type(None) else str(getattr(kind, "__name__", kind))
