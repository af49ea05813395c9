"""Whether telemetry is wanted, and that who does not want it pays nothing."""

import subprocess
import sys

import pytest

from lowproxy.telemetry import running_telemetry, wanted

HERE = "http://127.0.0.1:4318"


@pytest.mark.parametrize(
    ("environ", "signals"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "x"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, ["traces", "metrics"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_SDK_DISABLED": "true"}, []),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": HERE}, ["traces"]),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": HERE}, ["metrics"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["traces"]),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_METRICS_EXPORTER": "none"},
            ["traces"],
        ),
    ],
)
def test_the_environment_asks(environ, signals):
    """In OpenTelemetry's own variables."""
    assert wanted(environ) == signals


async def test_nobody_asks():
    """There is none."""
    async with running_telemetry({}, {}) as telemetry:
        assert telemetry is None


async def test_the_extra_is_missing(monkeypatch):
    """It is said, and the gateway runs without."""
    monkeypatch.setitem(sys.modules, "lowproxy.otel", None)
    async with running_telemetry({"OTEL_TRACES_EXPORTER": "otlp"}, {}) as telemetry:
        assert telemetry is None


def test_nothing_is_imported():
    """A start without the wish does not read a line of the SDK."""
    code = (
        "import sys, lowproxy.cli.serve, lowproxy.server.app; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert ran.returncode == 0
