"""`lowproxy models` prints one line for each model and who serves it."""

import attrs

from lowproxy.catalogue import Catalogue, load
from lowproxy.cli import main
from lowproxy.cli.models import table
from lowproxy.config import Config
from lowproxy.core.upstreams import Endpoint, Model, Provider

ACME = Provider("acme", currency="EUR")
CATALOGUE = Catalogue(
    (ACME,),
    (
        Endpoint("acme-1", ACME, "eu-west", "https://eu.acme.example"),
        Endpoint("acme-2", ACME, "us-east", "https://us.acme.example"),
    ),
    (
        Model(
            "acme/small",
            "acme",
            "small",
            128000,
            frozenset({"vision", "tools"}),
            0.075,
            1.0,
        ),
        Model("acme/bare", "acme", "bare"),
    ),
)


def test_the_table():
    """Prices keep the decimals they have; what is not known is a dash."""
    assert list(table(CATALOGUE)) == [
        "MODEL       PROVIDER  REGIONS          CONTEXT  CAPABILITIES  PRICE IN/OUT",
        "acme/small  acme      eu-west,us-east  128000   tools,vision  0.075/1.00 EUR",
        "acme/bare   acme      eu-west,us-east  -        -             -",
    ]


def test_a_place_with_a_key_of_its_own_is_listed_too():
    """It is the same provider, whatever it is asked with."""
    other = attrs.evolve(CATALOGUE.endpoints[1], provider=Provider("acme", "openai"))
    catalogue = attrs.evolve(CATALOGUE, endpoints=(CATALOGUE.endpoints[0], other))

    assert list(table(catalogue)) == list(table(CATALOGUE))


def test_the_demo_is_listed_like_a_provider():
    """With its regions, before any port is open."""
    lines = list(table(load(Config(), {})))

    mini = next(line for line in lines if line.startswith("openai/gpt-4o-mini "))
    assert "demo      eu-west,eu-north,us-east,us-west  128000" in mini
    assert mini.endswith("0.00/0.00 USD")


def test_the_command(tmp_path, capsys):
    """It reads the configuration like every other command."""
    path = tmp_path / "lowproxy.toml"
    path.write_text(
        """
        [catalogue]
        enabled = false
        [[providers]]
        id = "acme"
          [[providers.endpoints]]
          region = "eu-west"
          base_url = "https://acme.example/v1"
        [[models]]
        id = "acme/small"
        """
    )

    assert main(["models", "--config", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("acme/small  acme")
