"""Rows of [[grid.sources]]: defaults, and every mistake by its full path."""

import pytest

from lowproxy import config
from lowproxy.errors import ConfigError

ENV = {"GRID_TOKEN": "canary-5f1c77d0"}


@pytest.fixture
def read(tmp_path):
    """Feeds and mistakes of a configuration with one source."""

    def read(row, environ=ENV):
        path = tmp_path / "lowproxy.toml"
        path.write_text(f"[[grid.sources]]\n{row}\n")
        made, problems = config.read(path, environ, searched=())
        return made.feeds, problems

    return read


def test_without_the_table_there_is_none():
    """The annual table alone."""
    assert config.load(None, {}, searched=()).feeds == ()


def test_defaults(read):
    """Ten minutes between rounds, two hours of age, life cycle factors."""
    (feed,), problems = read(
        'kind = "electricitymaps"\ntoken_env = "GRID_TOKEN"\nzones = ["FR", "SE-SE3"]'
    )
    assert problems == []
    assert feed.url == "https://api.electricitymaps.com"
    assert feed.zones == {"FR": "FR", "SE-SE3": "SE-SE3"}
    assert (feed.refresh_s, feed.max_age_s, feed.timeout_s) == (600, 7200, 10)
    assert feed.factor == "lifecycle"
    assert feed.token.reveal() == ENV["GRID_TOKEN"]
    assert ENV["GRID_TOKEN"] not in repr(feed)


@pytest.mark.parametrize(
    ("row", "zones"),
    [
        ('kind = "uk"', {"GB": "GB"}),
        ('kind = "odre"\nfactor = "direct"', {"FR": "FR"}),
        (
            'kind = "eia"\ntoken_env = "GRID_TOKEN"\nzones = ["US-MIDA-PJM"]',
            {"US-MIDA-PJM": "PJM"},
        ),
        (
            'kind = "entsoe"\ntoken_env = "GRID_TOKEN"\nzones = ["FR"]',
            {"FR": "10YFR-RTE------C"},
        ),
        (
            'kind = "entsoe"\ntoken_env = "GRID_TOKEN"\nzones.HU = "10YHU-MAVIR----U"',
            {"HU": "10YHU-MAVIR----U"},
        ),
        (
            'kind = "carbonaware"\nurl = "http://10.0.0.5"\nzones.NL = "westeurope"',
            {"NL": "westeurope"},
        ),
        ('kind = "file"\npath = "grid.json"', {}),
        ('kind = "http"\nurl = "http://grid.internal/zones"', {}),
    ],
)
def test_every_kind(read, row, zones):
    """Zones become what the source calls them."""
    (feed,), problems = read(row)
    assert problems == []
    assert feed.zones == zones


def test_a_token_in_a_file(read, tmp_path):
    """Beside the configuration, read again when it changes."""
    (tmp_path / "token").write_text("canary-of-the-file\n")
    (feed,), _ = read(
        'kind = "electricitymaps"\ntoken_file = "token"\nzones = ["FR"]', {}
    )
    assert feed.token.reveal() == "canary-of-the-file"


MAPS = 'kind = "electricitymaps"\nzones = ["FR"]\n'


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('kind = "watttime"', ".kind: found 'watttime', needs"),
        ("", ".kind: missing"),
        (MAPS, '.token_env: missing; kind "electricitymaps" answers nobody without'),
        (MAPS + 'token_env = "UNSET"', ".token_env: the environment variable UNSET"),
        (MAPS + 'token_file = "nowhere"', ".token_file: cannot be read"),
        (MAPS + 'token = "canary"', ".token: secrets are not written in this file"),
        (MAPS + 'token_env = "A"\ntoken_file = "b"', ": found both of token_env and"),
        ('kind = "carbonaware"\nzones.NL = "x"', ".url: missing"),
        ('kind = "carbonaware"\nurl = "http://x"\nzones = ["NL"]', ".zones: kind"),
        ('kind = "electricitymaps"\ntoken_env = "GRID_TOKEN"', ".zones: missing"),
        ('kind = "uk"\nzones = ["FR"]', '.zones: found FR, and kind "uk" knows GB'),
        ('kind = "uk"\nzones = ["gb"]', ".zones: found 'gb', needs a grid zone"),
        ('kind = "uk"\nzones = "GB"', ".zones: found 'GB', needs a list of grid zones"),
        ('kind = "uk"\npath = "x"', ".path: kind"),
        ('kind = "file"', ".path: missing"),
        ('kind = "file"\npath = "x"\nurl = "http://x"', ".url: kind"),
        ('kind = "uk"\nfactor = "marginal"', ".factor: found 'marginal', needs"),
        (
            'kind = "eia"\ntoken_env = "GRID_TOKEN"\nzones = ["US"]\nfactor = "direct"',
            ".factor: kind",
        ),
        (
            'kind = "eia"\ntoken_env = "GRID_TOKEN"\nzones = ["FR"]',
            '.zones: kind "eia" has no known name for FR',
        ),
        (
            'kind = "uk"\nsignal = "marginal"',
            '.signal: kind "uk" tells averages only; marginal may be carbonaware',
        ),
        ('kind = "uk"\nrefresh_s = 0', ".refresh_s: found 0, needs more than 0"),
        (
            'kind = "uk"\nmax_age = 5',
            ".max_age: no such option; did you mean max_age_s",
        ),
        ('kind = "uk"\nurl = "http://x/?key=canary"', ".url: found a URL with a query"),
    ],
)
def test_mistakes(read, row, problem):
    """By the full path, with what would be right; no secret is repeated."""
    feeds, problems = read(row)
    assert feeds == ()
    assert problems[0].startswith(f"grid.sources[0]{problem}")
    assert "canary" not in str(problems)


def test_they_stop_the_gateway(tmp_path):
    """Before a port is opened, with the others."""
    path = tmp_path / "lowproxy.toml"
    path.write_text('[[grid.sources]]\nkind = "file"\n[grid2]\n')
    with pytest.raises(ConfigError) as caught:
        config.load(path, {}, searched=())
    assert len(caught.value.problems) == 2


MARGINAL = '[[grid.sources]]\nkind = "file"\npath = "m.json"\nsignal = "marginal"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[routing]\ncarbon_signal = "marginal"',
            'routing.carbon_signal: found "marginal", needs a [[grid.sources]] row',
        ),
        (
            '[routing]\ncarbon_signal = "lowest"',
            "routing.carbon_signal: found 'lowest'",
        ),
        (
            MARGINAL + MARGINAL + 'factor = "direct"',
            "grid.sources: found marginal rows of both factors",
        ),
    ],
)
def test_signals_that_cannot_rank(tmp_path, text, problem):
    """A signal that nobody sends, and two that do not compare."""
    path = tmp_path / "lowproxy.toml"
    path.write_text(text)
    _, problems = config.read(path, {}, searched=())
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_a_marginal_source(tmp_path):
    """It is told by its label wherever its readings are."""
    path = tmp_path / "lowproxy.toml"
    path.write_text(MARGINAL + '[routing]\ncarbon_signal = "marginal"')
    made, problems = config.read(path, {}, searched=())
    assert not problems
    (feed,) = made.feeds
    assert (feed.label, feed.signal) == ("operator-file-marginal", "marginal")
