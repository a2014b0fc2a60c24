"""Signatures for typer, from declarations: a command takes dataclasses, typer sees their options.

A parameter whose type is a dataclass with declared fields (`harness.core.declarations`) becomes one
option for each of them, and the command is called with the dataclass that the values make. `Expand`
says which fields a command leaves out. A parameter with an `Option` of its own becomes that option.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cache, wraps
from keyword import iskeyword
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from harness.cli.candidates import complete_models, complete_objectives, complete_tasks
from harness.core.declarations import PANELS, Option
from harness.core.errors import HarnessError
from harness.core.files.paths import user_path
from harness.core.needs import model_option

SHORT = {"model": "-m", "task": "-t", "question": "-q", "image": "-i", "format": "-f"}
"""Options with a short form, in whichever command they are."""
COMPLETIONS = {
    "model": complete_models,
    "objective": complete_objectives,
    "task": complete_tasks,
    "teacher": complete_models,
}
"""What a shell offers for the value of an option."""
FEW = 8
"""So many options need no panels."""
_CONTEXT = "ctx"
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True, slots=True, kw_only=True)
class Expand:
    """How a command takes the options of a dataclass."""

    only: tuple[str, ...] = ()
    """Fields whose options the command has; empty: all."""
    without: tuple[str, ...] = ()
    """Fields that keep their default."""
    panels: tuple[str, ...] = PANELS
    """Only the options of these panels."""
    panel: str | None = None
    """One panel for all of them, in place of their own."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Other defaults than the dataclass has, by field, of fields without an option too."""
    helps: Mapping[str, str] = field(default_factory=dict)
    """Other help than the options have, by field, where another default asks for it."""
    each: str = ""
    """For a list of dataclasses: the field whose option is repeated, with one of them for each."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """By field: the value of an option for one alone that several may have."""
    argument: str = ""
    """The field that is given by position."""
    changes: Any = None
    """For a mapping: the dataclass whose fields, all of them optional, are in it where given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A parameter of a command, and the option that it becomes."""

    name: str
    """By which typer's context knows it."""
    kind: Any
    option: Option
    default: Any
    field: str = ""
    """Of the dataclass that it is from."""
    argument: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.option.flag or self.name.replace('_', '-')}"

    def every(self) -> Iterator[Declared]:
        """Itself, as a group has its options."""
        yield self

    def make(self, values: Mapping[str, Any]) -> Any:
        """What the command takes, from the values of the parameters by name."""
        value, parse = values[self.name], self.option.parse
        return value if parse is None or value is None else parse(value)


@dataclass(frozen=True, slots=True)
class Group:
    """The options that make a dataclass."""

    cls: Any
    how: Expand
    parts: Mapping[str, Declared | Group]
    """By field: an option, or the options of a dataclass in it."""

    def every(self) -> Iterator[Declared]:
        """All options, in the order of the fields."""
        for part in self.parts.values():
            yield from part.every()

    def make(self, values: Mapping[str, Any]) -> Any:
        """What the command takes, from the values of the parameters by name."""
        if self.how.changes is not None:
            return {key: value for key, value in self._fields(values).items() if value is not None}
        if not self.how.each:
            return self.cls(**self._fields(values))
        (repeated,) = (one.name for one in self.every() if one.field == self.how.each)
        if len(values[repeated]) > 1:
            self._refuse_alone(values)
        return [self.cls(**self._fields({**values, repeated: value})) for value in values[repeated]]

    def _fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        own = {each.name for each in fields(self.cls)} - set(self.parts)
        kept = {name: value for name, value in self.how.defaults.items() if name in own}
        return kept | {name: part.make(values) for name, part in self.parts.items()}

    def _refuse_alone(self, values: Mapping[str, Any]) -> None:
        for one in self.every():
            if one.option.alone and values[one.name] not in {None, self.how.shared.get(one.field)}:
                raise HarnessError(f"{one.flag} goes with one --{self.how.each}.")


def group_of(cls: Any, how: Expand) -> Group:
    """The options of a dataclass as a command takes them."""
    hints = _hints(cls)
    parts: dict[str, Declared | Group] = {}
    for each in fields(cls):
        kind, option = _parted(hints[each.name])
        inner = _dataclass_in(kind) if how.changes is None else None
        if option is None and inner is not None and each.name not in how.without:
            group = group_of(inner, replace(how, each="", argument=""))
            parts |= {each.name: group} if [*group.every()] else {}
        elif option is not None and _is_wanted(each.name, option, how):
            parts[each.name] = _field(each.name, kind, option, each.default, how)
    return Group(cls, how, parts)


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    """The types of a dataclass's fields, which take long to resolve."""
    return get_type_hints(cls, include_extras=True)


def _is_wanted(name: str, option: Option, how: Expand) -> bool:
    if name in how.without or option.panel not in how.panels:
        return False
    return not how.only or name in how.only


def _field(name: str, kind: Any, option: Option, default: Any, how: Expand) -> Declared:
    flag = option.flag or name.replace("_", "-")
    parameter = flag.replace("-", "_")
    if option.default is not ... or default is MISSING:
        default = option.default
    if how.changes is not None:
        kind, default = Union[kind, None], None  # noqa: UP007  # made at run time
    return Declared(
        name=f"{parameter}_" if iskeyword(parameter) else parameter,  # --import
        kind=list[kind] if name == how.each else kind,
        option=replace(
            option,
            flag=flag,
            panel=option.panel if how.panel is None else how.panel,
            help=how.helps.get(name, option.help),
        ),
        default=how.defaults.get(name, default),
        field=name,
        argument=name == how.argument,
    )


def _parted(annotation: Any) -> tuple[Any, Option | None]:
    """A type and its declaration."""
    if get_origin(annotation) is not Annotated:
        return annotation, None
    kind, *marks = get_args(annotation)
    return kind, next((mark for mark in marks if isinstance(mark, Option)), None)


def _dataclass_in(kind: Any) -> Any:
    """The dataclass that a type is, may be, or is a list of; None for other types."""
    inside = get_args(kind) if get_origin(kind) in {UnionType, Union, list} else (kind,)
    return next((one for one in inside if is_dataclass(one)), None)


def expanded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command's function as typer takes it: with a parameter for each of its options."""
    plain: dict[str, inspect.Parameter] = {}
    made_of: dict[str, Group | Declared] = {}
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        found = _declaration(name, parameter)
        if found is None:
            plain[name] = parameter
        else:
            made_of[name] = found
    if not made_of:
        return function
    options = _single(function.__name__, made_of.values())
    context = next((name for name, one in plain.items() if one.annotation is typer.Context), None)

    @wraps(function)
    def command(**values: Any) -> Any:
        _refuse_idle(values[context or _CONTEXT], options)
        made = {name: found.make(values) for name, found in made_of.items()}
        return function(**{name: values[name] for name in plain if name in values}, **made)

    shown = [_parameter(one, panels=len(options) > FEW) for one in _in_order(options.values())]
    own = [one.replace(kind=_KEYWORD) for one in plain.values()]
    if context is None:
        own.append(inspect.Parameter(_CONTEXT, _KEYWORD, annotation=typer.Context))
    command.__signature__ = inspect.Signature([*own, *shown])  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in [*own, *shown]}
    return command


def _declaration(name: str, parameter: inspect.Parameter) -> Group | Declared | None:
    """What a command's parameter declares; None where it is typer's own affair."""
    annotation = parameter.annotation
    kind, option = _parted(annotation)
    if option is not None:
        given = parameter.default is not inspect.Parameter.empty
        default = parameter.default if given else option.default
        return Declared(name=name, kind=kind, option=option, default=default)
    marks = annotation.__metadata__ if get_origin(annotation) is Annotated else ()
    how = next((mark for mark in marks if isinstance(mark, Expand)), None)
    cls = _dataclass_in(kind) if how is None or how.changes is None else how.changes
    return None if cls is None else group_of(cls, how or Expand())


def _single(command: str, found: Iterable[Group | Declared]) -> dict[str, Declared]:
    """The options by name; two dataclasses may have the same one, by the same declaration."""
    options: dict[str, Declared] = {}
    for group in found:
        for one in group.every():
            if options.setdefault(one.name, one).option != one.option:
                raise TypeError(f"{one.flag} of {command} is declared twice")
    return options


def _in_order(options: Iterable[Declared]) -> list[Declared]:
    """Panel by panel, in each what is needed first."""
    return sorted(options, key=lambda one: (PANELS.index(one.option.panel), one.default is not ...))


def _parameter(one: Declared, *, panels: bool) -> inspect.Parameter:
    """The parameter that typer makes an option, or an argument, of."""
    option = one.option
    kind = option.given or one.kind
    shared: dict[str, Any] = {
        "help": _help(option, several=_is_list(kind)),
        "rich_help_panel": option.panel if panels and option.panel else None,
        "metavar": option.metavar,
        "min": option.minimum,
        "max": option.maximum,
        "callback": _check(option),
        "autocompletion": COMPLETIONS.get(one.flag.removeprefix("--")),
    }
    if one.argument:
        info: Any = typer.Argument(**shared)
    else:
        flag = f"{one.flag}/--{option.opposite}" if option.opposite else one.flag
        short = SHORT.get(one.flag.removeprefix("--"))
        info = typer.Option(*([flag, short] if short else [flag]), **shared)
    default = False if one.default is ... and kind is bool else one.default
    default = inspect.Parameter.empty if default is ... else default
    return inspect.Parameter(one.name, _KEYWORD, annotation=Annotated[kind, info], default=default)


def _help(option: Option, *, several: bool) -> str:
    if not several:
        return option.help
    return f"{option.help} {'Repeatable, or A,B.' if option.commas else 'Repeatable.'}"


def _is_list(kind: Any) -> bool:
    inside = get_args(kind) if get_origin(kind) in {UnionType, Union} else (kind,)
    return any(get_origin(one) is list for one in inside)


def _check(option: Option) -> Callable[[Any], Any]:
    """The callback that refuses a value, as a usage error that names the option."""

    def check(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            raise typer.BadParameter(f"{value} is not a finite number.")  # above every minimum
        if option.commas and isinstance(value, list | tuple):
            value = separated(value)
        try:
            if option.parse is not None and value is not None:
                option.parse(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        return value

    return check


def separated(values: Iterable[str]) -> list[str]:
    """The values, those with commas between them each by itself; a path that is there stays."""
    found = []
    for value in values:
        parts = [part for part in value.split(",") if part]
        found += [value] if not parts or user_path(value).exists() else parts
    return found


def _refuse_idle(ctx: typer.Context, options: Mapping[str, Declared]) -> None:
    """Refuse an option that would do nothing.

    Raises:
        HarnessError: an option that was written needs another one, or another value of it.
    """
    if ctx.invoked_subcommand:
        return
    for name, one in options.items():
        for need in one.option.needs:
            if _is_chosen(ctx, name, one) and not need.met(ctx.params):
                words = need.words.format(model=model_option(ctx.params))
                raise HarnessError(f"{one.flag} does nothing without {words}.")


def _is_chosen(ctx: typer.Context, name: str, one: Declared) -> bool:
    """Whether an option was written; a configuration may write what is the default."""
    source = ctx.get_parameter_source(name)
    if source is None or source.name not in {"COMMANDLINE", "DEFAULT_MAP"}:
        return False
    return source.name == "COMMANDLINE" or ctx.params[name] != one.default
