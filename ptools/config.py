"""Defaults for options: PTOOLS_<COMMAND>_<OPTION>, then ptools.toml, into click's default_map.

    # ptools.toml, in the folder where ptools is started
    [train]
    epochs = 20
    batch-size = 128

    [plugins.new]               a subcommand of a group
    dir = "plugins/mine"

The command line wins over PTOOLS_TRAIN_EPOCHS, which wins over ptools.toml, which wins over the
default. Going through default_map, `ptools train --help` shows the value in force. A key that no
option has is an error with a suggestion, so that a misspelt default cannot be lost in silence.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import click

from ptools.errors import UsageError, one_line, suggestion
from ptools.output import note

FILE = "ptools.toml"
HOST_VARIABLES = ("PTOOLS_DISABLE",)  # not options of a command


def defaults(
    command: click.Command, name: str, known: Iterable[str], environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Return the default_map of `command`. Raises UsageError on a key that no option has.

    `known` are the names of all commands: a table of ptools.toml must be one of them.
    """
    tables = _read()
    names = sorted({*known, name})
    for key, value in tables.items():
        if key not in names:
            _check_table(key, value, names)
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{FILE}: '{name}' must be a table: write [{name}] on a line of its own.")
    found = _from_table(command, table, name)
    _check_variables(names, environ)
    _add_environment(command, _variable("PTOOLS", name), names, environ, found)
    return found


def _check_table(key: str, value: Any, names: list[str]) -> None:
    """Refuse a misspelt command; a table that resembles none may be of a plugin that is gone."""
    close = suggestion(key, names)
    if close or not isinstance(value, dict):
        raise UsageError(f"{FILE}: no command '{key}'.{close or ' Options stand in a [command].'}")
    note(f"Warning: {FILE}: no command '{one_line(key, 64)}' is installed for its table.")


def _check_variables(names: list[str], environ: Mapping[str, str]) -> None:
    """Refuse a variable of a misspelt command; one that resembles none is somebody else's."""
    prefixes = tuple(_variable("PTOOLS", name) + "_" for name in names)
    for variable in environ:
        if variable.startswith("PTOOLS_") and not variable.startswith(prefixes):
            word = variable.split("_")[1].lower()
            if (close := suggestion(word, names)) and variable not in HOST_VARIABLES:
                raise UsageError(f"environment: {variable} names no command.{close}")


def _read() -> dict[str, Any]:
    if not os.path.isfile(FILE):
        return {}
    import tomllib

    try:
        with open(FILE, "rb") as file:
            return tomllib.load(file)
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, endless digits or brackets
        raise UsageError(f"{FILE} is no valid TOML: {one_line(error)}.") from error
    except OSError as error:
        raise UsageError(f"{FILE} cannot be read: {error.strerror}.") from error


def _options(command: click.Command) -> dict[str, click.Option]:
    """Return every spelling of every option that can have a default, as `batch_size`."""
    found: dict[str, click.Option] = {}
    for param in command.params:
        if isinstance(param, click.Option) and not param.is_eager and param.name:
            for spelling in (param.name, *param.opts):
                found[_key(spelling)] = param
    return found


def _key(text: str) -> str:
    return text.lstrip("-").replace("-", "_")


def _from_table(command: click.Command, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    options = _options(command)
    children = command.commands if isinstance(command, click.Group) else {}
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key in children and isinstance(value, dict):
            found[key] = _from_table(children[key], value, f"{where}.{key}")
        elif (option := options.get(_key(key))) is not None:
            found[option.name or ""] = _checked(option, value, f"{FILE}: {key} in [{where}]")
        else:
            known = [max(o.opts, key=len).lstrip("-") for o in options.values()]
            _unknown(f"{FILE}: [{where}] has no option '{key}'.", key, [*known, *children])
    return found


def _checked(option: click.Option, value: Any, where: str) -> Any:
    """Return a value as it would stand on the command line: 2.7 is then no whole number either."""
    many = option.multiple or option.nargs != 1
    if isinstance(value, bool) and option.is_flag:
        return value if option.is_bool_flag else option.flag_value if value else None
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return [str(value)] if option.multiple else str(value)
    if many and isinstance(value, list) and all(isinstance(v, (str, int, float)) for v in value):
        return [str(item) for item in value]
    raise UsageError(f"{where} must be a {'list of values' if many else 'single value'}.")


def _add_environment(
    command: click.Command,
    prefix: str,
    names: list[str],
    environ: Mapping[str, str],
    found: dict[str, Any],
) -> None:
    """Lay the variables that begin with `prefix` over `found`.

    PTOOLS_TB_IMAGES_X is not for `tb`, unless `tb` has an option `--images-x`.
    """
    options = {_variable(prefix, key): option for key, option in _options(command).items()}
    children = command.commands if isinstance(command, click.Group) else {}
    longer = [_variable("PTOOLS", name) for name in names]
    longer += [_variable(prefix, child) for child in children]
    longer = [other + "_" for other in longer if len(other) > len(prefix)]
    for variable in sorted(environ):
        option = options.get(variable)
        if not variable.startswith(prefix + "_") or (
            not option and variable.startswith(tuple(longer))
        ):
            continue
        if option is None:
            _unknown(f"environment: no option for {variable}.", variable, sorted(options))
        elif environ[variable]:
            found[option.name or ""] = _split(option, environ[variable])
    for name, child in children.items():
        table = found.setdefault(name, {})
        _add_environment(child, _variable(prefix, name), [], environ, table)


def _split(option: click.Option, value: str) -> Any:
    many = option.multiple or option.nargs != 1
    return list(option.type.split_envvar_value(value)) if many else value


def _variable(prefix: str, name: str) -> str:
    return f"{prefix}_{name}".upper().replace("-", "_")


def _unknown(message: str, word: str, known: list[str]) -> None:
    raise UsageError(f"{message}{suggestion(word, known) or ' Remove it, or see --help.'}")
