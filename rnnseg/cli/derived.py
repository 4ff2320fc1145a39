"""Command-line options that are derived from declarations (`rnnseg.options`)."""

import dataclasses
from collections.abc import Callable, Collection

import click

from rnnseg.errors import UserError
from rnnseg.models.options import MODEL_OPTIONS
from rnnseg.options import Option, checked, declaration, kinds_of, tuple_of

_METAVARS = {int: "INTEGER", float: "FLOAT", str: "TEXT"}
_WORDS = {int: "a whole number", float: "a number"}


def options_of(
    declared: type, names: Collection[str] | None = None, **changed: str
) -> Callable[[Callable], Callable]:
    """Returns a decorator that adds the options which a dataclass declares.

    The command gets one argument per option, with the name of its field; None: the option is not
    given. Fields that the class itself declares come before those that it inherits.

    Args:
      declared: a dataclass whose fields are made by `rnnseg.options.option`.
      names: the fields to take; None: all of them.
      **changed: other help texts, by the name of the field; their options show no default.
    """
    fields = [each for each in dataclasses.fields(declared) if names is None or each.name in names]
    own = declared.__annotations__
    fields.sort(key=lambda field: field.name not in own)

    def add(command: Callable) -> Callable:
        for field in reversed(fields):
            command = _click_option(field, changed.get(field.name))(command)
        return command

    return add


def option_name(field: dataclasses.Field) -> str:
    """Returns the command-line option of a field, such as "--batch" or "--flip/--no-flip"."""
    declared = declaration(field)
    if declared.flag:
        return "/".join(declared.flag)
    return declared.name or f"--{field.name.replace('_', '-')}"


def refuse_options_of_others(model: str, given: Collection[str]) -> None:
    """Checks that the options which the user gave are not those of other models alone.

    Args:
      model: a name of `rnnseg.models.options.MODEL_OPTIONS`.
      given: the names of the fields.

    Raises:
      UserError: other models have some of the options, and this one has not.
    """
    declared = {
        field.name: field
        for options in MODEL_OPTIONS.values()
        for field in dataclasses.fields(options)
    }
    own = {field.name for field in dataclasses.fields(MODEL_OPTIONS[model])}
    foreign = [
        option_name(declared[name]) for name in given if name in declared and name not in own
    ]
    if foreign:
        raise UserError(f"{', '.join(foreign)}: {model} has no such option; omit it")


def _click_option(field: dataclasses.Field, help_text: str | None) -> Callable:
    declared = declaration(field)
    notes = [declared.expected] if not declared.choices and declared.expected else []
    if help_text is None and field.default not in (dataclasses.MISSING, None):
        notes.insert(0, f"default: {_shown(field.default, declared)}")
    text = (help_text or declared.help) + (f"  [{'; '.join(notes)}]" if notes else "")
    if declared.flag:
        return click.option(option_name(field), field.name, default=None, help=text)
    kind = _Declared(field)
    names = option_name(field), *declared.also
    return click.option(*names, field.name, type=kind, metavar=kind.name, help=text)


def _shown(default, declared: Option) -> str:
    if declared.flag:
        return declared.flag[0 if default else 1].lstrip("-")
    if isinstance(default, tuple) and not default:
        return "none"
    if isinstance(default, tuple):
        return declared.separator.join(f"{each:g}" for each in default)
    return str(default)


class _Declared(click.ParamType):
    """The value of a declared option, checked against its declaration."""

    def __init__(self, field: dataclasses.Field):
        self._field, self._declared = field, declaration(field)
        self._kind = kinds_of(field)[0]
        choices = "|".join(map(str, self._declared.choices))
        self.name = f"[{choices}]" if choices else self._declared.form or _METAVARS[self._kind]
        if self._declared.may_be_empty:
            self.name += "|none"
        self.takes_numbers = (tuple_of(self._kind)[0] or self._kind) in (int, float)

    def convert(self, value, param, ctx):
        """Returns the value that a text stands for."""
        element, length = tuple_of(self._kind)
        try:
            if element is None:
                parsed = self._kind(value)
            elif self._declared.may_be_empty and value == "none":
                parsed = ()
            else:
                parsed = tuple(map(element, value.split(self._declared.separator)))
        except ValueError:
            self.fail(f"{value!r}: expected {_WORDS.get(self._kind, self.name)}", param, ctx)
        if element is not None and length == 2 and len(parsed) == 1:
            parsed *= 2  # one number stands for both
        if length is not None and len(parsed) != length:
            self.fail(f"{value!r}: expected {self.name}", param, ctx)
        try:
            return checked(self._field, parsed)
        except UserError as error:
            self.fail(str(error), param, ctx)
