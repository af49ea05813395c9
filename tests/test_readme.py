"""The README tells the truth: its example works, and what it names exists."""

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from lowproxy import errors
from lowproxy.cli import COMMANDS, main
from lowproxy.config.rows import KeyRow, Relay, Server, Timeouts
from lowproxy.core.grid_kinds import KINDS
from lowproxy.core.preferences import Preferences
from lowproxy.metrics import Metrics
from lowproxy.server import endpoints
from tests.e2e.conftest import running_gateway

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table(head: str) -> list[list[str]]:
    """The cells of the table that starts with this head, row by row."""
    rows = README.partition(f"| {head} |")[2].split("\n\n")[0].splitlines()[2:]
    assert rows, head
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def quoted(text: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", text)


def paragraph(start: str) -> str:
    """The text from these words to the next blank line or item."""
    found = re.search(rf"{re.escape(start)}.*?(?=\n\n|\n- )", README, re.DOTALL)
    assert found, start
    return found[0]


# --- commands ----------------------------------------------------------------------------


def test_it_opens_with_two_commands():
    """One runs the gateway, one passes the tests, both from a fresh clone."""
    run, test = blocks("sh")[:2]

    assert run.strip().endswith("lowproxy serve")
    assert test.strip().endswith("pytest")
    assert README.index(test) < README.index("\n## ")


def test_the_commands_exist(capsys):
    """Every `lowproxy ...` of the README is a command with a help text, and none is missing."""
    said = set(re.findall(r"`lowproxy ([a-z]+)", README))
    said |= set(re.findall(r"\blowproxy ([a-z]+)\b", "\n".join(blocks("sh"))))

    assert said == set(COMMANDS)
    for name in sorted(said):
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
    assert "--region" in capsys.readouterr().out


def test_the_extra_exists():
    """What the second command names in brackets is in setup.cfg."""
    (extra,) = set(re.findall(r"'\.\[(\w+)\]'", README))

    assert f"\n{extra} =\n" in (ROOT / "setup.cfg").read_text()


# --- examples ----------------------------------------------------------------------------


@pytest.mark.e2e
def test_the_examples_print_what_the_readme_says(tmp_path, monkeypatch):
    """The blocks of Python, in order, and the log line, of a gateway that is not configured.

    Ids differ from run to run, and figures from one table of factors to the next.
    """
    printed = io.StringIO()
    scope: dict[str, Any] = {}
    with running_gateway(tmp_path) as gateway:
        monkeypatch.setenv("LOWROUTER_API_KEY", gateway.key)
        with contextlib.redirect_stdout(printed):
            for block in blocks("python"):
                code = block.replace("http://127.0.0.1:8080/api/v1", gateway.base_url)
                exec(code, scope)  # noqa: S102 - it is our own text
        scope["client"].close()
        scope["pinned"].close()
    logged = re.findall(r"^\{.*\}$", gateway.process.printed(), re.MULTILINE)
    (line,) = blocks("json")

    # The first text is what the terminal shows, the others are Python's.
    assert masked(printed.getvalue()) == masked("".join(blocks("text")[1:]))
    assert list(json.loads(logged[0])) == list(json.loads(line))


def masked(text: str) -> str:
    """Without ids and figures."""
    text = re.sub(r"gen_[\w-]+", "gen_", text)
    return re.sub(r"\b\d+\.\d+(e-\d+)?\b", "0.0", text)


def test_the_configuration_can_be_used(tmp_path, monkeypatch, capsys):
    """`lowproxy check` takes the examples together, and finds nothing to remark on them."""
    path = tmp_path / "lowproxy.toml"
    path.write_text("".join(blocks("toml")))
    monkeypatch.setenv("ACME_API_KEY", "sk-nobodys")
    monkeypatch.setenv("ELECTRICITYMAPS_TOKEN", "nobodys")

    assert main(["check", "--config", str(path)]) == 0

    said = capsys.readouterr().out
    assert re.search("acme +eu-west; key found; 1 models", said)
    assert "alice (acme/*; openai/*; eu)" in said
    assert "acme/small is known, and" not in said


# --- tables ------------------------------------------------------------------------------


def test_the_time_limits_are_the_programs():
    """Every option, with its default."""
    said = {
        quoted(name)[0]: float(default)
        for name, default, _ in table("option | default | what it limits")
    }

    assert said == attrs.asdict(Timeouts())


def test_the_sizes_are_the_programs():
    """The limits of a body and of open requests."""
    assert f"`server.max_body_bytes`, {Server().max_body_bytes} by" in README
    assert f"`server.max_requests`, {Server().max_requests} by" in README
    assert f"`drain_limit_s`, {Relay().drain_limit_s:g} by" in README


def test_the_metrics_are_the_programs():
    """Every metric, under the name that a scrape shows."""
    text = Metrics().exposition().decode()
    there = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))

    assert {quoted(row[0])[0] for row in table("name | labels | what")} == there


def test_the_errors_are_the_programs():
    """Every status that this version can answer with."""
    said = {
        int(status)
        for row in table("status | when")
        for status in re.findall(r"\d{3}", row[0])
    }
    kinds = [errors.LowproxyError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    unused = {errors.LowproxyError}

    assert said == {kind.status for kind in kinds if kind not in unused}


def test_the_live_sources_are_the_programs():
    """Every kind of source of carbon intensity."""
    said = quoted(paragraph("The kinds: ").partition("\n")[0])

    assert said == list(KINDS)


def test_the_wishes_are_the_programs():
    """Every field of `route`, as the refusal of another one lists them."""
    with pytest.raises(errors.BadRequestError) as refused:
        Preferences.read({"route": {"else": True}}, None)
    there = refused.value.message.partition("there are ")[2].split(", ")
    said = [
        name for row in table("in the request | meaning") for name in quoted(row[0])
    ]

    assert {f"route.{name}" for name in there} == {
        name.partition(":")[0] for name in said if name.startswith("route.")
    }


def test_what_is_not_there_is_said():
    """The paths that are not built yet."""
    paths = quoted(paragraph("These paths answer 404"))

    assert set(paths) == endpoints.NOT_YET


def test_each_limit_of_a_key_is_said():
    """By the name of its option, with what happens beyond it."""
    rows = [quoted(row[0]) for row in table("limit | what it bounds | beyond it")]

    assert {name for names in rows for name in names} == {
        field.name
        for field in attrs.fields(KeyRow)
        if field.name.endswith(("_per_minute", "_streams", "_limit", "_carbon_g"))
    }


def test_what_is_there_is_said():
    """Every path that is served."""
    said = set(re.findall(r"`(?:GET|POST) (/[\w/{}]*)`", paragraph("**Ports.**")))

    admin = {"/", "/events", "/livez", "/readyz", "/metrics"}
    assert said == set(endpoints.ENDPOINTS) | admin


def test_the_table_of_changes_is_true_to_the_tree():
    """Each file is there, and has the name that is to be touched in it."""
    for row in table("to add | touch"):
        words = quoted(row[1])
        files = [ROOT / word for word in words if "/" in word]
        assert files, row
        assert all(file.exists() for file in files), row
        for name in (word for word in words if word.isupper()):
            (holder,) = [f for f in files if f.is_file() and name in f.read_text()][:1]
            assert re.search(rf"^{name}\b", holder.read_text(), re.MULTILINE), name


def test_links_lead_somewhere():
    """Every relative link of the README and of CONTRIBUTING is a file of the tree."""
    for page in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
            assert target.startswith("https:") or (ROOT / target).exists(), target
