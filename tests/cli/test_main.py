"""The command line as a whole: commands, exit codes, what is imported for them."""

import subprocess
import sys
from pathlib import Path

import pytest

import lowproxy
from lowproxy.cli import COMMANDS, main
from lowproxy.errors import ConfigError

ROOT = Path(lowproxy.__file__).parents[1]


def run(*argv, **options):
    """The real program."""
    return subprocess.run(
        [sys.executable, "-m", "lowproxy", *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_the_version(capsys):
    """One line, exit 0."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"lowproxy {lowproxy.__version__}\n"


def test_help_lists_every_command(capsys):
    """Each with its summary."""
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    assert caught.value.code == 0
    printed = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert name in printed
        assert summary.split()[0] in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    """Its module is there and takes arguments."""
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])

    assert caught.value.code == 0
    assert f"lowproxy {name}" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["sevre"], ["check", "--nonsense"], ["keys"]])
def test_called_wrongly(argv, capsys):
    """Exit 2 and the usage, as for any Unix program."""
    with pytest.raises(SystemExit) as caught:
        main(argv)

    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: lowproxy")


def test_a_configuration_that_cannot_be_used_is_78(tmp_path, capsys):
    """sysexits.h: EX_CONFIG; all mistakes on standard error, one a line."""
    path = tmp_path / "lowproxy.toml"
    path.write_text("[timeouts]\nidel = 1\nconnect_s = -1\n")

    assert main(["check", "--config", str(path)]) == 78

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "lowproxy: the configuration cannot be used:\n"
        "  timeouts.connect_s: found -1, needs 0 or more\n"
        "  timeouts.idel: no such option; did you mean idle_s?\n"
    )


def test_small_commands_do_not_load_a_web_server():
    """Starting up is most of what they do."""
    code = (
        "import sys; from lowproxy.cli import main; main(['keys', 'new', 'x']);"
        "print(sorted({'aiohttp', 'asyncio', 'structlog'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    """130, as a shell reports it."""

    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lowproxy.cli.check.open_config", interrupted)

    assert main(["check"]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_who_has_enough_is_no_error(tmp_path):
    """`lowproxy models | head -1`."""
    done = subprocess.run(
        f"{sys.executable} -m lowproxy models | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )

    head, code = done.stdout.splitlines()
    assert head.startswith("MODEL")
    assert code == "0"
    assert done.stderr == ""


def test_problems_of_a_command_are_told_alike(monkeypatch, capsys):
    """Whoever raises ConfigError, the operator reads the same form."""

    def broken(*_args, **_options):
        raise ConfigError(["a: b", "c: d"])

    monkeypatch.setattr("lowproxy.cli.models.open_config", broken)

    assert main(["models"]) == 78
    assert capsys.readouterr().err.splitlines()[1:] == ["  a: b", "  c: d"]


def test_the_module_is_the_program():
    """`python -m lowproxy` needs no installed script."""
    done = run("--version")

    assert (done.returncode, done.stdout) == (0, f"lowproxy {lowproxy.__version__}\n")


def test_a_server_does_not_load_what_it_never_uses():
    """rich, which structlog would take where it is installed for the terminal of `chat`, costs memory."""
    code = (
        "import sys, lowproxy.cli\n"
        "try: lowproxy.cli.main(['serve', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'structlog' in sys.modules\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'rich']\n"
        "import rich.console\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
