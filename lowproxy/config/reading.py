"""TOML tables into rows, and every mistake with the full path of its option."""

import contextlib
import copy
import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.cols import mapping_structure_factory
from cattrs.errors import (
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.gen import make_dict_structure_fn

from lowproxy.config.rows import TABLES
from lowproxy.config.values import shown
from lowproxy.errors import ConfigError

# Names under which people write a secret into the file.
_SECRET_WORDS = ("api_key", "api_keys", "key", "secret", "token", "password")


# Tables whose rows refer to each other: one mistake must not hide the next.
_JUDGED_TOGETHER = ("keys", "providers", "models")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file; raises ConfigError with line and column, or why not read."""
    try:
        raw = path.read_bytes()
    except OSError as exc:
        problem = f"{path}: cannot be read: {exc.strerror}"
        raise ConfigError([problem]) from exc
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as exc:
        line = raw[: exc.start].count(b"\n") + 1
        raise ConfigError([f"{path}: not UTF-8 (at line {line})"]) from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError([f"{path}: not TOML: {exc}"]) from exc


def read_tables(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Rows by table name, and one line per mistake.

    Keys, providers and models are read without the options that have mistakes, so that what else is wrong
    shows in the same round; other tables, and those that cannot be read even so, are left out.
    """
    rows: dict[str, Any] = {}
    problems = [_unknown(name, name, TABLES) for name in tables if name not in TABLES]
    for name, shape in TABLES.items():
        if name not in tables:
            continue
        try:
            rows[name] = _CONVERTER.structure(tables[name], shape)  # type: ignore[arg-type]
        except Exception as exc:  # noqa: BLE001 - cattrs raises groups of any kind
            found = list(_problems(exc, name))
            problems += found
            if name not in _JUDGED_TOGETHER:
                continue
            rest = copy.deepcopy(tables[name])
            for problem in found:
                _without(rest, problem.partition(": ")[0].removeprefix(name))
            with contextlib.suppress(Exception):
                rows[name] = _CONVERTER.structure(rest, shape)  # type: ignore[arg-type]
    return rows, problems


def _without(table: Any, path: str) -> None:
    """Takes the option at `[0].endpoints[1].region` out of a table."""
    *inner, last = re.findall(r"[^.\[\]]+", path) or [""]
    with contextlib.suppress(LookupError, TypeError, ValueError):
        for step in inner:
            table = table[int(step) if isinstance(table, list) else step]
        if isinstance(table, dict):
            del table[last]


def did_you_mean(word: str, known: Any) -> str:
    """`; did you mean X?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _problems(exc: BaseException, path: str) -> Iterator[str]:
    match exc:
        case ClassValidationError():
            noted, rest = exc.group_exceptions()
            for cause, note in noted:
                yield from _problems(cause, f"{path}.{note.name}")
            for cause in rest:
                yield from _problems(cause, path)
        case IterableValidationError():
            listed, others = exc.group_exceptions()
            for cause, place in listed:
                name = place.index  # a row's number, or a table's option
                step = f".{name}" if isinstance(name, str) else f"[{name}]"
                yield from _problems(cause, path + step)
            for cause in others:
                yield from _problems(cause, path)
        case ForbiddenExtraKeysError():
            for name in sorted(exc.extra_fields):
                yield _extra(exc.cl, path, name)
        case KeyError():
            yield f"{path}: missing"
        case ValueError():
            yield f"{path}: {exc}"
        case _:
            raise exc


def _extra(cls: type, path: str, name: str) -> str:
    known = attrs.fields_dict(cls)
    full = f"{path}.{name}"
    if name in _SECRET_WORDS:
        prefix = next((p for p in ("key", "token") if f"{p}_env" in known), "api_key")
        if f"{prefix}_env" in known:
            return (
                f"{full}: secrets are not written in this file; name the environment "
                f"variable that holds it: {prefix}_env"
            )
    return _unknown(full, name, known)


def _unknown(full: str, name: str, known: Any) -> str:
    return f"{full}: no such option{did_you_mean(name, known)}"


def _converter() -> Converter:
    """Reads rows strictly: every field has its check as the type's annotation."""
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)

    def row(cls: Any) -> Any:
        inner = make_dict_structure_fn(
            cls,
            converter,
            _cattrs_forbid_extra_keys=True,
            _cattrs_detailed_validation=True,
        )
        return lambda value, kind: inner(_must_be(Mapping, "a table", value), kind)

    def listed(kind: Any) -> Any:
        items: Any = list[get_args(kind)[0]]  # type: ignore[misc]
        return lambda value, _: tuple(
            converter.structure(_must_be(list, "a list", value), items)
        )

    def named(kind: Any) -> Any:
        inner = mapping_structure_factory(kind, converter, detailed_validation=True)
        return lambda value, _: inner(_must_be(Mapping, "a table", value), kind)

    def checked(kind: Any) -> Any:
        check = get_args(kind)[1]
        return lambda value, _: check(value)

    converter.register_structure_hook_factory(attrs.has, row)
    converter.register_structure_hook_factory(_is(tuple), listed)
    converter.register_structure_hook_factory(_is(dict), named)
    converter.register_structure_hook_factory(_is(Annotated), checked)
    return converter


def _is(origin: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


def _must_be(kind: type, called: str, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"found {shown(value)}, needs {called}")  # noqa: TRY004 - one kind of error for all mistakes of the file
    return value


_CONVERTER = _converter()
