"""What is in use, what sleeps, and what is a mistake."""

from pathlib import Path

from lowproxy.config.activation import activate
from lowproxy.config.merging import merged_providers
from lowproxy.config.rows import EndpointRow, ProviderRow

HERE = Path()
ACME = ProviderRow(
    id="acme",
    api_key_envs=("ACME_API_KEY", "ACME_TOKEN"),
    endpoints=(
        EndpointRow(region="us-east", base_url="https://us.acme.example"),
        EndpointRow(
            region="eu-west",
            base_url="https://eu.acme.example",
            api_key_env="ACME_EU_API_KEY",
        ),
    ),
)


def run(environ, *over, base=(ACME,)):
    """The activation of provider acme."""
    return activate(merged_providers(base, over)["acme"], environ, HERE)


def keys(endpoint):
    """What an endpoint would be asked with."""
    return [secret.reveal() for secret in endpoint.provider.credentials]


def test_a_built_in_provider_sleeps_until_its_key_is_there():
    """And it is known what would wake each of its places."""
    result = run({})

    assert (result.endpoints, result.problems) == ((), ())
    assert result.dormant == {
        "acme": "ACME_API_KEY or ACME_TOKEN",
        "acme in eu-west": "ACME_EU_API_KEY",
    }


def test_the_first_of_several_names_counts():
    """They are names for one key: a second one set to something else is not rotated in."""
    [endpoint] = run({"ACME_TOKEN": "b", "ACME_API_KEY": "a"}).endpoints

    assert (endpoint.id, keys(endpoint)) == ("acme-us-east-1", ["a"])


def test_a_place_with_a_key_of_its_own_is_asked_with_that_one():
    """An ordinary key would be refused there."""
    us, eu = run({"ACME_API_KEY": "a", "ACME_EU_API_KEY": "e"}).endpoints

    assert (keys(us), keys(eu)) == (["a"], ["e"])
    assert us.provider.id == eu.provider.id


def test_only_the_place_whose_key_is_there():
    """An account in Europe alone is enough to use Europe."""
    [eu] = run({"ACME_EU_API_KEY": "e"}).endpoints

    assert eu.region == "eu-west"


def test_a_configured_provider_needs_no_key():
    """Local servers want none."""
    row = ProviderRow(
        id="acme",
        endpoints=(EndpointRow(region="local", base_url="http://127.0.0.1:1"),),
    )

    [endpoint] = run({}, row, base=()).endpoints

    assert keys(endpoint) == []
    assert (endpoint.id, endpoint.provenance) == ("acme-local-1", "declared")


def test_a_configured_provider_without_the_key_it_names_is_a_mistake():
    """Also where the name is the built-in one's; saying "" does without."""
    assert (
        run({}, ProviderRow(id="acme"))
        .problems[0]
        .startswith(
            "providers[0].api_key_envs[0]: the environment variable ACME_API_KEY is not set"
        )
    )
    assert run({}, ProviderRow(id="acme", api_key_env="")).problems == ()


def test_what_a_configured_endpoint_lacks_is_named():
    """With the path of the operator's row, not with the merged one's."""
    row = ProviderRow(
        id="acme",
        endpoints=(
            EndpointRow(region="uk"),
            EndpointRow(base_url="https://x.example"),
            EndpointRow(
                region="uk", base_url="https://x.example", api_key_env="UK_KEY"
            ),
        ),
    )

    assert run({}, row, base=()).problems == (
        "providers[0].endpoints[0].base_url: missing",
        "providers[0].endpoints[1].region: missing",
        (
            "providers[0].endpoints[2].api_key_env: "
            "the environment variable UK_KEY is not set"
        ),
    )


def test_a_provider_without_a_place_is_a_mistake():
    """Nothing could ever be sent to it."""
    off = EndpointRow(region="uk", base_url="https://x.example", enabled=False)

    for row in (ProviderRow(id="acme"), ProviderRow(id="acme", endpoints=(off,))):
        assert run({}, row, base=()).problems == (
            "providers[0].endpoints: none in use, needs one or more",
        )


def test_a_place_to_be_completed_sleeps_even_with_a_key():
    """Some hosts have the account's name in their URL."""
    template = ProviderRow(
        id="acme",
        api_key_env="ACME_API_KEY",
        endpoints=(EndpointRow(id="acme"),),
    )
    asleep = run({"ACME_API_KEY": "a"}, base=(template,))
    done = ProviderRow(
        id="acme",
        endpoints=(
            EndpointRow(id="acme", region="uk", base_url="https://me.acme.example"),
        ),
    )
    [endpoint] = run({"ACME_API_KEY": "a"}, done, base=(template,)).endpoints

    assert asleep.dormant == {
        "acme": "ACME_API_KEY and a base_url in the configuration"
    }
    assert (endpoint.region, keys(endpoint)) == ("uk", ["a"])
