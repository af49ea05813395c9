"""A file and an environment become one Config, or a list of all mistakes."""

import attrs
import pytest

from lowproxy import config
from lowproxy.config import ENV_KEY, Config, Listen
from lowproxy.core.keys import hash_key
from lowproxy.errors import ConfigError

LONG = "lr-sk-" + "x" * 43
HASH = hash_key(LONG)


@pytest.fixture
def file(tmp_path):
    """Writes a configuration and gives its path."""

    def write(text):
        path = tmp_path / "lowproxy.toml"
        path.write_text(text)
        return path

    return write


def problems(path, environ=None, **options):
    """What is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        config.load(path, environ or {}, **{"searched": (), **options})
    return caught.value.problems


def test_without_a_file_the_defaults_of_the_contract_hold():
    """Ports on loopback, 32 MiB, and the timeouts as documented."""
    loaded = config.load(None, {}, searched=())

    assert loaded == Config()
    assert str(loaded.server.listen) == "127.0.0.1:8080"
    assert str(loaded.server.admin_listen) == "127.0.0.1:8081"
    assert loaded.server.max_body_bytes == 33554432
    assert attrs.asdict(loaded.timeouts) == {
        "connect_s": 5,
        "first_byte_s": 120,
        "unary_s": 600,
        "attempts_s": 600,
        "idle_s": 60,
        "total_s": 0,
        "drain_s": 30,
        "body_s": 60,
    }


def test_the_example_of_the_contract_is_understood(file):
    """Every table and option that it names."""
    path = file(
        f"""
        [server]
        listen = "127.0.0.1:9080"
        admin_listen = "127.0.0.1:9081"
        max_body_bytes = 1000

        [timeouts]
        connect_s = 5
        first_byte_s = 120
        unary_s = 600
        idle_s = 60
        total_s = 0
        drain_s = 30

        [[keys]]
        name = "dev"
        hash = "{HASH}"
        region = "eu-west"
        models = ["openai/*"]
        expires_at = 1970-01-01T00:01:00Z

        [[providers]]
        id = "acme"
        dialect = "openai"
        api_key_env = "ACME_API_KEY"
        currency = "EUR"

          [[providers.endpoints]]
          id = "acme-paris"
          region = "eu-west"
          zone = "FR"
          base_url = "https://api.acme.example/v1"

        [[models]]
        id = "acme/small"
        provider = "acme"
        upstream_model = "small-2026-01"
        context_length = 128000
        capabilities = ["tools", "vision", "structured_output"]
        price_prompt = 0.15
        price_completion = 0.60
        total_params_b = 24
        active_params_b = 24
        weight_bits = 8
        params_source = "https://acme.example/small"

        [auto]
        models = ["acme/small", "openai/gpt-4o-mini"]

        [catalogue]
        enabled = false
        """
    )

    loaded = config.load(path, {})

    [key] = loaded.keys
    assert (key.name, key.hash, key.region, key.models, key.expires_at) == (
        "dev",
        HASH,
        "eu-west",
        ("openai/*",),
        60.0,
    )
    assert loaded.server.listen == Listen("127.0.0.1", 9080)
    assert loaded.providers[0].endpoints[0].zone == "FR"
    assert loaded.models[0].total_params_b == 24.0
    assert loaded.auto.models == ("acme/small", "openai/gpt-4o-mini")
    assert not loaded.catalogue.enabled
    assert loaded.path == path


def test_the_first_file_that_exists_is_read(file, tmp_path):
    """./lowproxy.toml before the one under /etc, and one that is named before both."""
    second = tmp_path / "etc.toml"
    second.write_text("[timeouts]\nconnect_s = 2")
    searched = (tmp_path / "none.toml", second)

    assert config.load(None, {}, searched=searched).timeouts.connect_s == 2
    assert config.find(tmp_path / "x.toml", searched) == tmp_path / "x.toml"
    assert "No such file" in problems(tmp_path / "x.toml", searched=searched)[0]


def test_the_command_line_wins(file):
    """Over the file, and before anything is checked."""
    path = file('[server]\nlisten = "0.0.0.0:1"')

    loaded = config.load(path, {}, listen="127.0.0.1:2", admin_listen="[::1]:3")

    assert str(loaded.server.listen) == "127.0.0.1:2"
    assert str(loaded.server.admin_listen) == "[::1]:3"
    assert problems(None, listen="2", admin_listen="x")[0].startswith("--listen: ")


def test_two_ports_cannot_be_one():
    """But each may be any free one."""
    same = "127.0.0.1:4000"

    [problem] = problems(None, listen=same, admin_listen=same)

    assert problem.startswith("server.admin_listen: found 127.0.0.1:4000")
    config.load(None, {}, listen="127.0.0.1:0", admin_listen="127.0.0.1:0", searched=())


def test_a_key_in_the_environment_is_a_key(file):
    """Whatever its prefix; as a row of its own, last, without limits."""
    path = file(f"[[keys]]\nname = 'dev'\nhash = '{HASH}'")

    dev, env = config.load(path, {ENV_KEY: "anything"}).keys

    assert dev.name == "dev"
    assert (env.name, env.hash, env.models) == (ENV_KEY, hash_key("anything"), ())


def test_a_row_for_that_variable_gives_it_limits(file):
    """Then it is that row's key, and not a second one without limits."""
    path = file(
        f"[[keys]]\nname = 'dev'\nkey_env = '{ENV_KEY}'\nregion = 'eu-west'\n"
        f"[[keys]]\nname = 'other'\nhash = '{HASH}'"
    )

    dev, other = config.load(path, {ENV_KEY: "anything"}).keys

    assert (dev.name, dev.region, dev.hash) == ("dev", "eu-west", hash_key("anything"))
    assert other.name == "other"


def test_the_environment_cannot_lift_the_limits_of_a_row(file):
    """The same key once as a limited row and once in the variable stays limited."""
    path = file(f"[[keys]]\nname = 'dev'\nhash = '{HASH}'\nenabled = false")

    [key] = config.load(path, {ENV_KEY: LONG}).keys

    assert not key.enabled


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name = 'x'", "keys[0]: found neither of hash and key_env"),
        (
            f"name = 'x'\nhash = '{HASH}'\nkey_env = 'K'",
            "keys[0]: found both of hash and key_env",
        ),
        (
            "name = 'x'\nkey_env = 'K'",
            "keys[0].key_env: the environment variable K is not set",
        ),
    ],
)
def test_keys_that_are_none(file, text, problem):
    """One way to know the key, and only one."""
    assert problems(file(f"[[keys]]\n{text}"))[0].startswith(problem)


def test_keys_are_told_apart(file):
    """By name in the books, by hash at the door."""
    row = f"[[keys]]\nname = 'x'\nhash = '{HASH}'\n"

    assert problems(file(row * 2)) == [
        "keys[1].name: found 'x' twice, needs another",
        "keys[1]: the same key as an earlier row",
    ]


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "10.1.2.3:8080"])
def test_beyond_loopback_a_key_is_required(listen):
    """One of 40 characters or more, where its length can be known."""
    [none] = problems(None, listen=listen)
    [short] = problems(None, {ENV_KEY: "short"}, listen=listen)

    assert none.startswith("server.listen: other machines can reach")
    assert "there is no key" in none
    assert short.startswith(f"{ENV_KEY}: ")
    assert "has 5 characters; needs 40 or more" in short
    assert "short" not in short
    config.load(None, {ENV_KEY: LONG}, listen=listen, searched=())


def test_a_short_key_in_a_row_is_named_by_its_row(file):
    """A hash tells no length; a variable does."""
    path = file(
        "[server]\nlisten = '0.0.0.0:1'\n"
        f"[[keys]]\nname = 'a'\nhash = '{HASH}'\n"
        "[[keys]]\nname = 'b'\nkey_env = 'B'"
    )

    [problem] = problems(path, {"B": "x" * 39})

    assert problem.startswith("keys[1].key_env: ")
    config.load(path, {"B": "x" * 40})


def test_on_loopback_any_key_will_do(file):
    """`LOWROUTER_API_KEY=dev` is a fine key on one's own machine."""
    config.load(None, {ENV_KEY: "dev"}, searched=())


def test_ids_are_said_once(file):
    """Providers, endpoints by their ids, models by id and provider."""
    path = file(
        """
        [[providers]]
        id = "a"
          [[providers.endpoints]]
          id = "a-1"
        [[providers]]
        id = "a"
          [[providers.endpoints]]
          id = "a-1"
        [[models]]
        id = "a/m"
        [[models]]
        id = "a/m"
        provider = "b"
        [[models]]
        id = "a/m"
        provider = "a"
        """
    )

    assert problems(path) == [
        "providers[1].id: found 'a' again, first at providers[0].id",
        (
            "providers[1].endpoints[0].id: found 'a-1' again, "
            "first at providers[0].endpoints[0].id"
        ),
        "models[2].id: found 'a/m' again, first at models[0].id",
    ]


def test_mistakes_of_every_kind_come_together(file):
    """Shapes and cross checks in one list, so that one run of `check` is enough."""
    path = file("[timeouts]\nidel = 1\n[[keys]]\nname = 'x'")

    assert problems(path, {}, admin_listen="127.0.0.1:8080") == [
        "timeouts.idel: no such option; did you mean idle_s?",
        "keys[0]: found neither of hash and key_env, needs one of them",
        "server.admin_listen: found 127.0.0.1:8080, the same as server.listen",
    ]


def test_no_secret_is_in_a_loaded_configuration(file):
    """It is printed in bug reports."""
    path = file("[[keys]]\nname = 'x'\nkey_env = 'K'")

    assert LONG not in repr(config.load(path, {"K": LONG, ENV_KEY: "sk-other"}))


def test_a_named_store_may_have_all_the_keys(tmp_path):
    """Beyond loopback, without a key of its own: the store has keys, or nobody is let in."""
    path = tmp_path / "lowproxy.toml"
    text = '[server]\nlisten = "0.0.0.0:8080"\n'
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"or store\.url"):
        config.load(path, {})
    path.write_text(text + f'[store]\nurl = "sqlite://{tmp_path}/books.db"')
    assert config.load(path, {}).keys == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[routing]\nlow_carbon = { carbon = 0 }",
            "routing.low_carbon: all weights are 0",
        ),
        ("[routing]\naccept_provenance = []", "routing.accept_provenance: empty"),
        ('[routing]\naccept_provenance = ["sure"]', "routing.accept_provenance[0]"),
        ("[routing]\ncheap = { speed = 1 }", "routing.cheap.speed: no such option"),
        ("[routing]\naffinity_ttl_s = 0", "routing.affinity_ttl_s: found 0"),
    ],
)
def test_routing_that_cannot_be(tmp_path, text, problem):
    """Named by its path, with what would be right."""
    file = tmp_path / "lowproxy.toml"
    file.write_text(text)

    with pytest.raises(ConfigError) as refused:
        config.load(file, {})
    (told,) = refused.value.problems
    assert told.startswith(problem)
