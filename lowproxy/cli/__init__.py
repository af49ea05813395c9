"""The command line: which sub-commands there are, and what an exit code means.

0 done, 1 failed, 2 called wrongly; as in sysexits.h, 69 no gateway is running there and
78 the configuration cannot be used; 130 interrupted.
A command's module is imported when that command is used, so that `lowproxy keys new`
does not wait for a web server to load.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import cast

from lowproxy import __version__
from lowproxy.errors import ConfigError

EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130

# Each is a module of this package with `add_arguments(parser)` and `run(args) -> int`.
COMMANDS = {
    "serve": "run the gateway",
    "check": "say what is wrong with a configuration, or what it would do",
    "catalog": "list, check and compare providers, places and models",
    "models": "list the models that can be asked for",
    "explain": "say where a request would go, and why",
    "chat": "ask a running gateway something, and see what the answer cost",
    "keys": "make keys for callers",
    "usage": "sum up what was asked for: tokens, money, grams; or export it",
    "migrate": "take the database to this program's version",
    "eco": "work out an estimate step by step, or compare methodologies",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    named = next((word for word in argv if not word.startswith("-")), None)
    args = _parser(named).parse_args(argv)
    try:
        code = int(args.run(args))
        sys.stdout.flush()  # here, where a reader who left can still be noticed
    except ConfigError as exc:
        print("lowproxy: the configuration cannot be used:", file=sys.stderr)
        for problem in exc.problems:
            print(f"  {problem}", file=sys.stderr)
        return EXIT_CONFIG
    except BrokenPipeError:
        # `lowproxy models | head`: the reader has what it wants.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def _parser(named: str | None) -> argparse.ArgumentParser:
    """All commands by name, with the arguments of the one that is used."""
    parser = argparse.ArgumentParser(
        prog="lowproxy",
        description="LowRouter, a carbon-aware gateway for OpenAI-compatible APIs.",
    )
    parser.add_argument(
        "--version", action="version", version=f"lowproxy {__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == named:
            if name == "serve":
                _import_structlog_alone()
            module = importlib.import_module(f"lowproxy.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _import_structlog_alone() -> None:
    """Imports structlog without rich, which it takes where there is one, for tracebacks in colour.

    None is ever printed here, and a server would hold 3 MB for it and start a tenth later.
    """
    if "structlog" not in sys.modules and "rich" not in sys.modules:
        sys.modules["rich"] = cast("ModuleType", None)  # as if not installed
        try:
            importlib.import_module("structlog")
        finally:
            del sys.modules["rich"]
