"""`lowproxy migrate`: takes the database to this program's version."""

import argparse
import os
import sys
from pathlib import Path

from lowproxy.catalogue import open_config
from lowproxy.store.connecting import connect
from lowproxy.store.database import StoreError
from lowproxy.store.migrations import known, migrate, pending


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument(
        "--check", action="store_true", help="say what is missing: 1 where something is"
    )


def run(args: argparse.Namespace) -> int:
    """Prints what was done; 1 where the database cannot be used."""
    config, _ = open_config(args.config, os.environ)
    if config.places.store is None:
        print("lowproxy migrate: no store is configured", file=sys.stderr)
        return 1
    url = config.places.store.reveal()
    try:
        database = connect(url, config.store.timeout_s, make=not args.check)
        try:
            steps = pending(database, known()) if args.check else migrate(database)
        finally:
            database.close()
    except StoreError as exc:
        print(f"lowproxy migrate: {exc}", file=sys.stderr)
        return 1
    for step in steps:
        print(f"{'missing' if args.check else 'done'}: {step.version:04} {step.name}")
    if not steps:
        print(f"up to date: version {known()[-1].version}")
    return 1 if args.check and steps else 0
