"""Who is measured: how each is started and what it needs to be told.

Each function takes a `Place` (ports, folder, where the provider is) and gives a `Start`.
Installed programs are looked for in PATH, or where an environment variable says:
BENCH_LOWPROXY, BENCH_LITELLM, BENCH_PORTKEY (a folder with node_modules),
BENCH_SMG, BENCH_VLLM_ROUTER, BENCH_SGLANG_PYTHON, BENCH_HAPROXY.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load.process import find
from benchmarks.load.workloads import models

# Keys of the benchmark only: both ends are on loopback and made up here.
CALLER_KEY = "lr-sk-bench-5c1f0a7de94b428fb36d1a90c27e8f54"
UPSTREAM_KEY = "sk-bench-upstream"
REGIONS = (
    ("eu-west", "FR"),
    ("eu-north", "SE"),
    ("us-east", "US-MIDA-PJM"),
    ("us-west", "US-CAL-CISO"),
)
ENDPOINTS = 20


@dataclass(frozen=True)
class Place:
    """Where a proxy is to live."""

    port: int
    admin_port: int
    folder: Path  # its own, empty
    upstream: str  # "http://127.0.0.1:PORT", or "https://..."
    authority: Path | None = None  # the certificate that signed the upstream's

    @property
    def upstream_host(self) -> str:
        """`HOST:PORT` of the provider."""
        return self.upstream.partition("://")[2]


@dataclass(frozen=True)
class Start:
    """A command, and when it is ready."""

    command: list[str]
    ready: str  # answers 200 as soon as the proxy can serve
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Proxy:
    """One contestant."""

    name: str
    start: Callable[[Place], Start | None]  # None: it is not installed
    headers: tuple[str, ...] = ()
    path: str = "/v1/chat/completions"
    asks_usage: bool = False  # by itself, so that our callers do not
    proof: str = ""  # must occur in each answer: the work was done
    heavy: bool = False  # overload comes last, because it is never drained in time
    speaks_tls: bool = False  # can be measured with a TLS upstream
    warm_s: float = 0.6


def nginx(place: Place) -> Start | None:
    """nginx as a plain reverse proxy, buffering off, one worker."""
    program = find("nginx")
    if program is None:
        return None
    scheme = place.upstream.partition("://")[0]
    trust = ""
    if place.authority:
        trust = (
            f"proxy_ssl_trusted_certificate {place.authority}; proxy_ssl_verify on; "
            "proxy_ssl_name localhost; proxy_ssl_protocols TLSv1.3;"
        )
    location = f"""proxy_pass {scheme}://provider;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout 300s;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {UPSTREAM_KEY}";
            {trust}"""
    return _nginx(
        program, place, f"listen 127.0.0.1:{place.port} backlog=4096;", location
    )


def tls_front(place: Place, certificate: Path, key: Path) -> Start:
    """nginx that ends TLS 1.3 before the provider; not measured itself."""
    program = find("nginx")
    if program is None:
        raise FileNotFoundError("a TLS upstream needs nginx, which is not installed")
    listen = f"""listen 127.0.0.1:{place.port} ssl backlog=4096;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        ssl_protocols TLSv1.3; ssl_buffer_size 4k;"""
    location = f"""proxy_pass {place.upstream};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout 300s;
            proxy_set_header Connection "";"""
    start = _nginx(program, place, listen, location)
    return Start(start.command, f"https://127.0.0.1:{place.port}/v1/models")


def _nginx(program: str, place: Place, listen: str, location: str) -> Start:
    temporary = " ".join(
        f"{kind}_temp_path {place.folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    config = place.folder / "nginx.conf"
    config.write_text(f"""{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 32768;
pid {place.folder}/pid;
error_log {place.folder}/error.log error;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    {temporary}
    upstream provider {{
        server {place.upstream_host};
        keepalive 4096;
        keepalive_requests 1000000000;
    }}
    server {{
        {listen}
        location / {{
            {location}
        }}
    }}
}}
""")
    command = [program, "-p", str(place.folder), "-c", str(config)]
    command += ["-e", f"{place.folder}/error.log"]
    return Start(command, f"http://127.0.0.1:{place.port}/v1/models")


def plain(place: Place) -> Start:
    """The relay of `plain_relay.py`."""
    script = Path(__file__).with_name("plain_relay.py")
    env = {"SSL_CERT_FILE": str(place.authority)} if place.authority else {}
    command = [sys.executable, str(script), str(place.port), place.upstream]
    return Start(command, f"http://127.0.0.1:{place.port}/v1/models", env)


def lowproxy(place: Place) -> Start | None:
    """The gateway with all its duties.

    A key with a policy and every kind of limit, 20 endpoints in four regions to choose from, model names
    that differ upstream so that every event is rewritten, prices and sizes known so that cost and eco are
    worked out, metrics, the books in SQLite and the access line to a file.
    """
    program = os.environ.get("BENCH_LOWPROXY")
    command = [program] if program else [sys.executable, "-m", "lowproxy"]
    config = place.folder / "lowproxy.toml"
    config.write_text(lowproxy_config(place))
    env = {"LOWROUTER_API_KEY": CALLER_KEY, "BENCH_UPSTREAM_KEY": UPSTREAM_KEY}
    env["STATE_DIRECTORY"] = str(place.folder)
    if place.authority:
        env["SSL_CERT_FILE"] = str(place.authority)
    return Start(
        [*command, "serve", "--config", str(config)],
        f"http://127.0.0.1:{place.admin_port}/readyz",
        env,
    )


def lowproxy_config(place: Place) -> str:
    """The configuration file of the measured gateway."""
    lines = [
        "[server]",
        f'listen = "127.0.0.1:{place.port}"',
        f'admin_listen = "127.0.0.1:{place.admin_port}"',
        "",
        "[store]",
        f'url = "sqlite://{place.folder}/ledger.db"',
        "",
        "[catalogue]",
        "enabled = false",
        "",
        "[[keys]]",
        'name = "bench"',
        'key_env = "LOWROUTER_API_KEY"',
        'region = "eu-west"',
        'models = ["bench*"]',
        # All that a key can be limited by, and far more of it than a run uses up.
        "requests_per_minute = 1000000000",
        "tokens_per_minute = 1000000000000",
        "max_streams = 1000000",
        "daily_limit = 1000000.0",
        "monthly_limit = 10000000.0",
        "daily_carbon_g = 1000000000.0",
        "",
        "[[providers]]",
        'id = "provider"',
        'dialect = "openai"',
        'api_key_env = "BENCH_UPSTREAM_KEY"',
    ]
    for i in range(ENDPOINTS):
        region, zone = REGIONS[i % len(REGIONS)]
        lines += [
            "  [[providers.endpoints]]",
            f'  id = "provider-{i}"',
            f'  region = "{region}"',
            f'  zone = "{zone}"',
            f'  base_url = "{place.upstream}/v1"',
        ]
    for model in models():
        lines += [
            "",
            "[[models]]",
            f'id = "{model}"',
            'provider = "provider"',
            f'upstream_model = "{model}-up"',
            "context_length = 400000",
            "price_prompt = 0.15",
            "price_completion = 0.60",
            "total_params_b = 24",
            "active_params_b = 24",
            "weight_bits = 8",
        ]
    return "\n".join(lines) + "\n"


def litellm(place: Place) -> Start | None:
    """The LiteLLM proxy: one worker, no database, a master key."""
    program = os.environ.get("BENCH_LITELLM") or find("litellm")
    if program is None:
        return None
    rows = "".join(
        f"  - model_name: {model}\n    litellm_params:\n      model: openai/{model}\n"
        f"      api_base: {place.upstream}/v1\n      api_key: {UPSTREAM_KEY}\n"
        for model in models()
    )
    config = place.folder / "litellm.yaml"
    config.write_text(f"model_list:\n{rows}litellm_settings:\n  request_timeout: 600\n")
    command = [
        program,
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--telemetry",
        "False",
    ]
    command += ["--port", str(place.port), "--num_workers", "1"]
    env = {
        "LITELLM_MASTER_KEY": CALLER_KEY,
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    return Start(command, f"http://127.0.0.1:{place.port}/health/liveliness", env)


def portkey(place: Place) -> Start | None:
    """Portkey's gateway, which a header tells where to go."""
    folder, node = os.environ.get("BENCH_PORTKEY"), find("node")
    if folder is None or node is None:
        return None
    script = Path(folder) / "node_modules/@portkey-ai/gateway/build/start-server.js"
    command = [node, str(script), f"--port={place.port}", "--headless"]
    ready = f"http://127.0.0.1:{place.port}/"
    return Start(command, ready, {"NODE_ENV": "production"})


def haproxy(place: Place) -> Start | None:
    """HAProxy, one thread, without delay for small writes."""
    program = os.environ.get("BENCH_HAPROXY") or find("haproxy")
    if program is None:
        return None
    config = place.folder / "haproxy.cfg"
    config.write_text(f"""global
    nbthread 1
    maxconn 8192
defaults
    mode http
    option http-no-delay
    http-reuse always
    timeout connect 5s
    timeout client 300s
    timeout server 300s
listen bench
    bind 127.0.0.1:{place.port} backlog 4096
    http-request set-header Authorization "Bearer {UPSTREAM_KEY}"
    server provider {place.upstream_host} pool-max-conn 4096
""")
    ready = f"http://127.0.0.1:{place.port}/v1/models"
    return Start([program, "-db", "-f", str(config)], ready)


def _rust_router(command: list[str], place: Place, ready: str = "/v1/models") -> Start:
    command = [*command, "--host", "127.0.0.1", "--port", str(place.port)]
    command += ["--worker-urls", place.upstream, "--policy", "round_robin"]
    command += ["--prometheus-port", str(place.admin_port)]
    ready = f"http://127.0.0.1:{place.port}{ready}"
    return Start(command, ready, {"TOKIO_WORKER_THREADS": "1"})


def smg(place: Place) -> Start | None:
    """The Shepherd model gateway, as an OpenAI front."""
    program = os.environ.get("BENCH_SMG") or find("smg")
    options = ["launch", "--backend", "openai", "--max-concurrent-requests", "4096"]
    options += ["--log-level", "warn"]
    return _rust_router([program, *options], place, "/liveness") if program else None


def sglang_router(place: Place) -> Start | None:
    """SGLang's router."""
    python = os.environ.get("BENCH_SGLANG_PYTHON")
    options = ["-m", "sglang_router.launch_router", "--log-level", "warn"]
    options += ["--max-concurrent-requests", "4096"]
    return _rust_router([python, *options], place) if python else None


def vllm_router(place: Place) -> Start | None:
    """vLLM's router."""
    program = os.environ.get("BENCH_VLLM_ROUTER") or find("vllm-router")
    options = ["--log-level", "warning", "--max-concurrent-requests", "4096"]
    return _rust_router([program, *options], place) if program else None


def to_portkey(upstream: str) -> tuple[str, ...]:
    """The headers by which a caller tells Portkey's gateway where to go."""
    return ("x-portkey-provider: openai", f"x-portkey-custom-host: {upstream}/v1")


def peer_versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of those peers that are installed, as their packages say."""
    programs = {
        "litellm": os.environ.get("BENCH_LITELLM") or find("litellm"),
        "smg": os.environ.get("BENCH_SMG") or find("smg"),
        "sglang-router": os.environ.get("BENCH_SGLANG_PYTHON"),
        "vllm-router": os.environ.get("BENCH_VLLM_ROUTER") or find("vllm-router"),
    }
    found = {}
    for name in names:
        if program := programs.get(name):
            # PREFIX/bin/program and PREFIX/lib/pythonX.Y/site-packages/name-1.2.dist-info
            prefix, package = Path(program).parents[1], name.replace("-", "_")
            for info in prefix.glob(f"lib/*/site-packages/{package}-*.dist-info"):
                found[name] = info.name.removesuffix(".dist-info").rpartition("-")[2]
        elif name == "portkey" and (folder := os.environ.get("BENCH_PORTKEY")):
            about = Path(folder) / "node_modules/@portkey-ai/gateway/package.json"
            found[name] = json.loads(about.read_text())["version"]
    return found


PROXIES = {
    p.name: p
    for p in (
        Proxy("direct", lambda _: None),
        Proxy("nginx", nginx, speaks_tls=True),
        # A second nginx elsewhere in the round shows the noise and steadies the ratio.
        Proxy("nginx2", nginx, speaks_tls=True),
        Proxy("plain", plain, speaks_tls=True),
        Proxy(
            "lowproxy", lowproxy, asks_usage=True, proof='"lowrouter"', speaks_tls=True
        ),
        Proxy("haproxy", haproxy),
        Proxy("vllm-router", vllm_router),
        Proxy("sglang-router", sglang_router),
        Proxy("smg", smg),
        Proxy("portkey", portkey, heavy=True, warm_s=2.0),
        Proxy("litellm", litellm, heavy=True, warm_s=4.0),
    )
}
USUAL = ("direct", "nginx", "plain", "lowproxy", "nginx2")
