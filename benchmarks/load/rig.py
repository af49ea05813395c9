"""The rig: builds the tools, starts the provider, and visits one proxy after another."""

import contextlib
import json
import resource
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.load import process, syscalls
from benchmarks.load.figures import is_disturbed
from benchmarks.load.proxies import (
    CALLER_KEY,
    Place,
    Proxy,
    Start,
    tls_front,
    to_portkey,
)
from benchmarks.load.workloads import WORKLOADS, Workload

HERE = Path(__file__).parent
START_LIMIT_S = 90


@dataclass(frozen=True)
class Rig:
    """What stands around the measured proxy, on the other core."""

    folder: Path
    caller: Path
    provider: str  # "http://127.0.0.1:PORT"
    tls_provider: str  # the same behind TLS, or ""
    authority: Path
    proxy_core: int
    other_core: int
    pids: tuple[int, ...]  # of the provider and its TLS front
    retries: int  # of a measurement that other processes disturbed


def build(folder: Path) -> dict[str, Path]:
    """Compile the C tools; name -> program. Raises CalledProcessError where cc fails."""
    programs = {name: folder / name for name in ("provider", "caller")}
    for name, program in programs.items():
        source = str(HERE / f"{name}.c")
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(program), source], check=True)
    return programs


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """A throw-away authority, and a certificate for loopback with its key."""
    authority, certificate, key = (folder / n for n in ("ca.crt", "tls.crt", "tls.key"))
    new = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]
    new += ["-pkeyopt", "ec_paramgen_curve:P-256"]
    signing = ["-subj", "/CN=bench", "-addext", "keyUsage=critical,keyCertSign"]
    ca = ["-keyout", str(folder / "ca.key"), "-out", str(authority)]
    leaf = ["-CA", str(authority), "-CAkey", str(folder / "ca.key")]
    leaf += ["-subj", "/CN=localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    leaf += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    leaf += ["-keyout", str(key), "-out", str(certificate)]
    for options in (signing + ca, leaf):
        subprocess.run([*new, *options], check=True, capture_output=True)
    return authority, certificate, key


@contextlib.contextmanager
def rig(*, tls: bool, retries: int = 0) -> Iterator[Rig]:
    """Everything that a run needs, in a folder that goes away with it."""
    proxy_core, other_core = process.cores()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        programs = build(folder)
        port = process.free_port()
        command = [str(programs["provider"]), str(port)]
        log = folder / "provider.log"
        running = [stack.enter_context(process.started(command, other_core, log))]
        provider = f"http://127.0.0.1:{port}"
        _must_answer(f"{provider}/v1/models", "the fake provider", log)
        tls_provider, authority = "", folder / "ca.crt"
        if tls:
            authority, certificate, key = certificates(folder)
            place = _place(folder, "front", provider)
            front = tls_front(place, certificate, key)
            log = folder / "front.log"
            running.append(
                stack.enter_context(process.started(front.command, other_core, log))
            )
            _must_answer(front.ready, "the TLS front", log, authority)
            tls_provider = f"https://127.0.0.1:{place.port}"
        yield Rig(
            folder,
            programs["caller"],
            provider,
            tls_provider,
            authority,
            proxy_core,
            other_core,
            tuple(pid for one in running for pid in process.tree(one.pid)),
            retries,
        )


def _must_answer(url: str, what: str, log: Path, authority: Path | None = None) -> None:
    context = ssl.create_default_context(cafile=authority) if authority else None
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2, context=context).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"{what} does not answer at {url}: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.exists() else "no output"


def _place(
    folder: Path, name: str, upstream: str, authority: Path | None = None
) -> Place:
    home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
    return Place(process.free_port(), process.free_port(), home, upstream, authority)


# ---- one visit ----


def visit(where: Rig, proxy: Proxy, workloads: Sequence[Workload]) -> dict[str, Any]:
    """Start a proxy, measure it under each workload, stop it.

    Gives `idle_kib`, `peak_kib` and `loads`: workload name -> figures; `failed` says why not.
    """
    if proxy.name == "direct":
        loads = [w for w in workloads if not (w.tls or w.syscalls)]
        return {
            "loads": {w.name: call(where, proxy, w, where.provider, []) for w in loads}
        }
    found: dict[str, Any] = {"loads": {}}
    for chosen in _stays(workloads):
        tls = chosen[0].tls
        if tls and not proxy.speaks_tls:
            continue
        upstream = where.tls_provider if tls else where.provider
        authority = where.authority if tls else None
        place = _place(where.folder, proxy.name, upstream, authority)
        start = proxy.start(place)
        if start is None:
            return {"failed": "not installed"}
        one = _stay(where, proxy, place, start, chosen)
        found["loads"].update(one.pop("loads"))
        found |= {name: value for name, value in one.items() if name not in found}
    return found


def _stays(workloads: Sequence[Workload]) -> list[list[Workload]]:
    """Workloads that may share one process.

    A TLS upstream needs another configuration. What slow readers make a proxy hold shows
    only in one that has not grown before.
    """
    kinds = [
        [w for w in workloads if not w.tls and not w.slow],
        [w for w in workloads if w.tls],
        *([w] for w in workloads if w.slow and not w.tls),
    ]
    return [kind for kind in kinds if kind]


def _stay(
    where: Rig, proxy: Proxy, place: Place, start: Start, workloads: Sequence[Workload]
) -> dict[str, Any]:
    log = place.folder / "log"
    if proxy.name == "portkey":
        proxy = replace(proxy, headers=to_portkey(place.upstream))
    with process.started(start.command, where.proxy_core, log, start.env) as running:
        if not process.answers(start.ready, START_LIMIT_S, running):
            return {"failed": f"did not start: {_tail(log)}", "loads": {}}
        time.sleep(0.3)
        fresh_kib = process.memory_kib(process.tree(running.pid))
        at = f"http://127.0.0.1:{place.port}"
        for name in ("U", "S1"):
            warm = replace(
                WORKLOADS[name],
                name="warm-up",
                warm_ms=0,
                window_ms=int(proxy.warm_s * 1000),
            )
            call(where, proxy, warm, at, [])
        pids = process.tree(running.pid)
        process.settle(pids)
        found: dict[str, Any] = {"fresh_kib": fresh_kib, "loads": {}}
        found["idle_kib"] = process.memory_kib(pids)
        for workload in _ordered(proxy, workloads):
            figures = _undisturbed(where, proxy, workload, at, pids)
            found["loads"][workload.name] = {**figures, "idle_kib": found["idle_kib"]}
            process.settle(pids)
        found["peak_kib"] = process.memory_kib(pids, "VmHWM")
    return found


def _undisturbed(
    where: Rig, proxy: Proxy, load: Workload, at: str, pids: list[int]
) -> dict[str, Any]:
    """The figures; taken again, a few times at most, while others keep the cores busy."""
    for _ in range(where.retries):
        figures = call(where, proxy, load, at, pids)
        if "failed" not in figures and (load.syscalls or not is_disturbed(figures)):
            return figures
        process.settle(pids)
    return call(where, proxy, load, at, pids)


def _ordered(proxy: Proxy, workloads: Sequence[Workload]) -> list[Workload]:
    """As given; for a proxy that overload would leave busy, by events a second."""
    if not proxy.heavy:
        return list(workloads)

    def rate(w: Workload) -> float:
        return w.connections * 1e6 / w.gap_us if w.gap_us else 0

    return sorted(workloads, key=rate)


def call(
    where: Rig, proxy: Proxy, load: Workload, at: str, pids: list[int]
) -> dict[str, Any]:
    """Run the load generator once and give its figures, with cost and memory added."""
    command = _command(where, proxy, load, at, pids)
    trace = where.folder / "strace.log"
    if load.syscalls and process.find("strace") is None:
        return {"failed": "strace is not installed"}
    watching: AbstractContextManager[None] = contextlib.nullcontext()
    if load.syscalls:
        watching = syscalls.traced(pids, trace, where.proxy_core)
    with (
        watching,
        _memory_during(load, pids) as during,
        _strangers(where, pids) as busy,
    ):
        limit_s = (load.warm_ms + load.window_ms) / 1000 + 60
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=limit_s
        )
    if done.returncode:
        return {"failed": done.stderr[-500:]}
    figures: dict[str, Any] = json.loads(done.stdout)
    if load.syscalls:
        figures["syscalls"] = syscalls.counted(
            trace, figures["opened_at"], figures["wall_s"]
        )
        trace.unlink(missing_ok=True)
    del figures["opened_at"]
    figures["strangers"] = busy
    if proxy.proof:
        figures["errors"]["without_proof"] = figures["ok"] - figures["expected"]
    work = figures["events" if load.unit == "event" else "answers"]
    if not work:
        return {"failed": f"nothing arrived within the window: {figures}"}
    if pids:
        figures["cpu_us"] = round(figures["cpu_s"] / work * 1e6, 3)
        figures["cpu_busy"] = round(figures["cpu_s"] / figures["wall_s"], 4)
        figures["during_kib"] = during.get("kib", 0)
    return figures


def _command(
    where: Rig, proxy: Proxy, load: Workload, at: str, pids: list[int]
) -> list[str]:
    model, body = load.model, where.folder / "body.json"
    body.write_bytes(load.body(model, asks_usage=not proxy.asks_usage))
    options = {
        "port": at.rpartition(":")[2],
        "path": proxy.path,
        "body": body,
        "connections": load.connections + load.slow,
        "warm-ms": load.warm_ms,
        "window-ms": load.window_ms,
        "ramp-ms": load.ramp_ms,
    }
    if load.streams:
        options["events"] = load.events
        if load.shows_model:
            options["in-event"] = f'"model":"{model}"'
    if proxy.proof:
        options["expect"] = proxy.proof
    if load.slow:
        slow = where.folder / "slow.json"
        slow.write_bytes(load.body(load.slow_model, asks_usage=not proxy.asks_usage))
        options |= {"slow": load.slow, "slow-rate": load.slow_rate, "slow-body": slow}
    if pids:
        options["pids"] = ",".join(map(str, pids))
    command = [str(where.caller), *["--stream"] * load.streams]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    for header in (f"Authorization: Bearer {CALLER_KEY}", *proxy.headers):
        command += ["--header", header]
    return process.pinned(where.other_core, command)


@contextlib.contextmanager
def _memory_during(load: Workload, pids: list[int]) -> Iterator[dict[str, int]]:
    """Look at the memory once, when most of the window has passed."""
    seen: dict[str, int] = {}

    def look() -> None:
        seen["kib"] = process.memory_kib(pids)

    timer = threading.Timer((load.warm_ms + 0.85 * load.window_ms) / 1000, look)
    timer.start()
    try:
        yield seen
    finally:
        timer.cancel()
        timer.join()


@contextlib.contextmanager
def _strangers(where: Rig, pids: list[int]) -> Iterator[dict[str, float]]:
    """How busy others kept the two cores meanwhile, as shares of one core."""

    def ours() -> tuple[float, float]:
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        callers = spent.ru_utime + spent.ru_stime
        return process.cpu_s(pids), process.cpu_s([*where.pids]) + callers

    found: dict[str, float] = {}
    cores = (where.proxy_core, where.other_core)
    began, before = time.monotonic(), (*map(process.core_s, cores), *ours())
    yield found
    wall, after = time.monotonic() - began, (*map(process.core_s, cores), *ours())
    all_proxy, all_other, proxy, other = (
        b - a for a, b in zip(before, after, strict=True)
    )
    found["proxy_core"] = round(max(0.0, all_proxy - proxy) / wall, 3)
    found["other_core"] = round(max(0.0, all_other - other) / wall, 3)


def say(text: str) -> None:
    """Progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)
