"""`lowproxy keys`: makes keys for callers, and keeps those of the store.

A change reaches every gateway on that store within a second, without a restart.
"""

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lowproxy.catalogue import open_config
from lowproxy.config import Config
from lowproxy.config.policy import POLICY, read_policy
from lowproxy.config.values import name
from lowproxy.core.keys import hash_key, make_key
from lowproxy.errors import ConfigError
from lowproxy.store import keys_table
from lowproxy.store.connecting import open_migrated
from lowproxy.store.database import Database, StoreError
from lowproxy.store.keys_table import KeyTableError, StoredKey

_LISTS = ("models", "providers")
_TEXTS = ("region", "expires_at")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for action, summary, act in (
        ("new", "draw a key and print it once", _new),
        ("list", "the keys of the store", _list),
        ("show", "what one may do", _show),
        ("edit", "change what it may do, from the next request on", _edit),
        ("disable", "let nobody in with it any more", _disable),
        ("rotate", "draw another in its place, and print that once", _rotate),
    ):
        sub = actions.add_parser(action, help=summary, description=summary)
        sub.set_defaults(act=act)
        sub.add_argument("--config", type=Path, metavar="FILE")
        if action != "list":
            sub.add_argument("name", metavar="NAME", type=_name, help="whose key it is")
        if action == "new":
            sub.add_argument(
                "--store",
                action="store_true",
                help="into the default store, where the configuration names none",
            )
        if action in ("new", "edit"):
            _add_policy(sub)


def run(args: argparse.Namespace) -> int:
    """Does it; 1 where the store cannot be used or the change cannot be made."""
    try:
        act: Callable[[argparse.Namespace], None] = args.act
        act(args)
    except (KeyTableError, StoreError) as exc:
        print(f"lowproxy keys: {exc}", file=sys.stderr)
        return 1
    return 0


def _add_policy(parser: argparse.ArgumentParser) -> None:
    for field in POLICY:
        kind = "A,B" if field in _LISTS else "VALUE"
        parser.add_argument(
            f"--{field.replace('_', '-')}",
            metavar=kind,
            help=f"as `{field}` of a [[keys]] row; none: not said",
        )


def _new(args: argparse.Namespace) -> None:
    fields = _policy(args)
    row, problems = read_policy(args.name, fields, "--")
    if row is None:
        raise KeyTableError("; ".join(problems))
    key = make_key(secrets.token_urlsafe(32))
    config = None if not args.store and not _may_store(args) else _config(args)
    if config is None or not (args.store or config.store.named):
        _print_row(args.name, key, fields)
        return
    if any(each.name == args.name for each in config.keys):
        raise KeyTableError(f"the configuration has a key named {args.name!r}")
    with _store(config) as database:
        keys_table.add(database, row, hash_key(key), time.time())
    _print_key(key)


def _list(args: argparse.Namespace) -> None:
    config = _config(args)
    with _store(config) as database:
        _, stored = keys_table.load(database)
    width = max((len(each.row.name) for each in stored), default=0)
    for each in stored:
        policy = each.as_json()
        told = [f"{k}={_shown(v)}" for k, v in policy.items() if k in POLICY]
        print(f"{each.row.name:{width}}  {_day(each)}  {' '.join(told)}")
    for key in config.keys:
        print(f"{key.name}  (of the configuration)")


def _show(args: argparse.Namespace) -> None:
    with _store(_config(args)) as database:
        stored = keys_table.find(database, args.name)
    print(json.dumps(stored.as_json(), indent=2, ensure_ascii=False))


def _edit(args: argparse.Namespace) -> None:
    fields = _policy(args)
    if not fields:
        raise KeyTableError("nothing to change: say what, such as --daily-limit 5")
    _, problems = read_policy(args.name, fields, "--")
    if problems:
        raise KeyTableError("; ".join(problems))
    with _store(_config(args)) as database:
        stored = keys_table.edit(database, args.name, fields, time.time())
    print(json.dumps(stored.as_json(), indent=2, ensure_ascii=False))


def _disable(args: argparse.Namespace) -> None:
    with _store(_config(args)) as database:
        keys_table.edit(database, args.name, {"enabled": False}, time.time())
    print(
        f"{args.name} is disabled; `lowproxy keys edit {args.name} --enabled true` undoes it"
    )


def _rotate(args: argparse.Namespace) -> None:
    key = make_key(secrets.token_urlsafe(32))
    with _store(_config(args)) as database:
        keys_table.rotate(database, args.name, hash_key(key), time.time())
    _print_key(key)


def _policy(args: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given, as JSON's values; None is one that is cleared."""
    given = {field: getattr(args, field) for field in POLICY}
    return {
        field: _value(field, text) for field, text in given.items() if text is not None
    }


def _value(field: str, text: str) -> Any:
    if text == "none":
        return None
    if field in _LISTS:
        return [part.strip() for part in text.split(",") if part.strip()]
    if field in _TEXTS:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text  # the check of the field says what is wrong with it


def _may_store(args: argparse.Namespace) -> bool:
    """Whether a configuration is there to be asked: drawing a key needs none."""
    if args.config is not None:
        return True
    from lowproxy.config import find

    return find(None) is not None


def _config(args: argparse.Namespace) -> Config:
    return open_config(args.config, os.environ)[0]


@contextmanager
def _store(config: Config) -> Iterator[Database]:
    place = config.places.store
    if place is None:
        raise ConfigError(["store: there is none; needs store.url"])
    database = open_migrated(place.reveal(), config.store.timeout_s)
    try:
        yield database
    finally:
        database.close()


def _print_key(key: str) -> None:
    print(
        f"The key, shown this once; the store keeps its hash only, and every gateway on it\n"
        f"knows the key within a second:\n\n    {key}"
    )


def _print_row(called: str, key: str, fields: Mapping[str, Any]) -> None:
    lines = [
        f"{field} = {value if field == 'expires_at' else _toml(value)}"
        for field, value in fields.items()
        if value is not None
    ]
    print(
        f"""\
The key, shown this once; the gateway keeps its hash only:

    {key}

For lowproxy.toml:

[[keys]]
name = {_toml(called)}
hash = "{hash_key(key)}\""""
    )
    for line in lines:
        print(line)


def _toml(value: Any) -> str:
    """JSON's strings, lists, numbers and booleans are TOML's."""
    return json.dumps(value, ensure_ascii=False)


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else _toml(value)


def _day(stored: StoredKey) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(stored.created_at))


def _name(value: str) -> str:
    try:
        return name(value)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
