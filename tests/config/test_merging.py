"""The operator's rows go over the built-in ones, option by option."""

from lowproxy.config.merging import merged_models, merged_providers
from lowproxy.config.rows import EndpointRow, ModelRow, ProviderRow

ACME = ProviderRow(
    id="acme",
    api_key_env="ACME_API_KEY",
    currency="EUR",
    endpoints=(
        EndpointRow(region="eu-west", base_url="https://eu.acme.example"),
        EndpointRow(region="us-east", base_url="https://us.acme.example"),
        EndpointRow(region="us-east", base_url="https://us2.acme.example"),
    ),
)


def test_endpoints_are_named_by_provider_region_and_number():
    """The names are what an operator's row refers to."""
    row = merged_providers([ACME], [])["acme"].row

    assert [each.id for each in row.endpoints] == [
        "acme-eu-west-1",
        "acme-us-east-1",
        "acme-us-east-2",
    ]


def test_one_option_is_changed_and_the_rest_stays():
    """Nobody has to copy a row to change its currency."""
    merged = merged_providers([ACME], [ProviderRow(id="acme", pue=1.1)])["acme"]

    assert merged.row.pue == 1.1
    assert merged.row.currency == "EUR"
    assert merged.row.api_key_env == "ACME_API_KEY"
    assert len(merged.row.endpoints) == 3
    assert merged.path == "providers[0]"


def test_an_endpoint_is_changed_by_its_id_and_a_new_one_added():
    """In place, so that the order of the built-in ones stays."""
    over = ProviderRow(
        id="acme",
        endpoints=(
            EndpointRow(id="acme-us-east-1", enabled=False),
            EndpointRow(region="uk", base_url="https://uk.acme.example"),
        ),
    )

    merged = merged_providers([ACME], [over])["acme"]
    by_id = {each.id: each for each in merged.row.endpoints}

    assert list(by_id)[-1] == "acme-uk-1"
    assert by_id["acme-us-east-1"].enabled is False
    assert by_id["acme-us-east-1"].base_url == "https://us.acme.example"
    assert merged.places == {
        "acme-us-east-1": "providers[0].endpoints[0]",
        "acme-uk-1": "providers[0].endpoints[1]",
    }


def test_naming_one_credential_replaces_them_all():
    """Else a rotated key would be used beside the one it replaces."""
    over = ProviderRow(id="acme", api_key_file="acme.key")

    row = merged_providers([ACME], [over])["acme"].row

    assert (row.api_key_env, row.api_key_file) == (None, "acme.key")


def test_models_merge_by_id_and_provider():
    """One id may be served by several; a row changes its own only."""
    base = [
        ModelRow(id="acme/small", price_prompt=1.0, context_length=8000),
        ModelRow(id="acme/small", provider="other", price_prompt=2.0),
    ]
    rows = [
        ModelRow(id="acme/small", provider="other", price_prompt=3.0),
        ModelRow(id="acme/new"),
    ]

    merged = merged_models(base, rows)

    assert merged["acme/small", "acme"].row == base[0]
    assert merged["acme/small", "acme"].path is None
    assert merged["acme/small", "other"].row.price_prompt == 3.0
    assert merged["acme/small", "other"].path == "models[0]"
    assert merged["acme/new", "acme"].path == "models[1]"
