"""What the tests of deploy/ have in common: where it is, and how its files are read."""

import argparse
import re
from pathlib import Path

from lowproxy.cli.serve import add_arguments

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"


def served(words: list[str]) -> argparse.Namespace:
    """Arguments as `lowproxy serve` takes them."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    return parser.parse_args(words)


def dockerfile(instruction: str) -> list[str]:
    """The arguments of an instruction of the last stage."""
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    return re.findall(rf"^{instruction} (.*)$", last, re.MULTILINE)


def options(text: str, name: str) -> list[str]:
    """The values of an option of a unit, in order."""
    found = re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
    assert found, name
    return found
