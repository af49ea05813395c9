"""`lowproxy keys new NAME`: draws a key for a caller and prints it, once."""

import argparse
import json
import secrets

from lowproxy.config.values import name
from lowproxy.core.keys import hash_key, make_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    new = actions.add_parser("new", help="draw a key and print it once")
    new.add_argument("name", metavar="NAME", type=_name, help="whose key it is")


def run(args: argparse.Namespace) -> int:
    """Prints the key and the rows for the configuration file."""
    key = make_key(secrets.token_urlsafe(32))
    print(
        f"""\
The key, shown this once; the gateway keeps its hash only:

    {key}

For lowproxy.toml:

[[keys]]
name = {json.dumps(args.name, ensure_ascii=False)}
hash = "{hash_key(key)}\""""
    )
    return 0


def _name(value: str) -> str:
    try:
        return name(value)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
