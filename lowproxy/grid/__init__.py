"""Where carbon intensity comes from: the annual table, and live sources over it.

To add a source: a module with one class, its line in `SOURCES`, and its row in
`lowproxy.core.grid_kinds`.
"""

from importlib import import_module

from lowproxy.config import FeedConfig
from lowproxy.grid.source import GridSource

# Loaded when a configuration names them: a gateway without live sources pays nothing.
SOURCES = {
    "electricitymaps": "lowproxy.grid.electricitymaps:ElectricityMaps",
    "uk": "lowproxy.grid.uk:Uk",
    "odre": "lowproxy.grid.odre:Odre",
    "eia": "lowproxy.grid.eia:Eia",
    "entsoe": "lowproxy.grid.entsoe:Entsoe",
    "carbonaware": "lowproxy.grid.carbonaware:CarbonAware",
    "file": "lowproxy.grid.operator_file:OperatorFile",
    "http": "lowproxy.grid.operator_http:OperatorHttp",
}


def make_source(config: FeedConfig) -> GridSource:
    """The adapter of a configured source."""
    module, _, name = SOURCES[config.kind].partition(":")
    source: GridSource = getattr(import_module(module), name)(config)
    return source
