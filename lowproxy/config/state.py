"""Where state is kept: the store's and the shared store's URL, and the state directory.

Under systemd it is `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/lowproxy`, else
`~/.local/state/lowproxy`. Nothing is opened or made here.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import attrs

from lowproxy.config.credentials import from_environ
from lowproxy.config.rows import Shared, Store
from lowproxy.config.values import SharedUrl, StoreUrl
from lowproxy.core.secret import Secret


@attrs.frozen
class Places:
    """URLs as they are to be opened, a password and all; None: there is none."""

    store: Secret | None = None
    spill_dir: Path | None = None
    shared: Secret | None = None


def locate(
    store: Store, shared: Shared, environ: Mapping[str, str]
) -> tuple[Places, list[str]]:
    """What is said, or the defaults; and one line per mistake."""
    problems: list[str] = []
    store_url = _url("store", store, environ, problems)
    shared_url = _url("shared", shared, environ, problems)
    state = state_dir(environ)
    if store_url is None and state is not None:
        store_url = f"sqlite://{state}/ledger.db"
    spill = Path(store.spill_dir) if store.spill_dir else state
    places = Places(
        store=Secret(store_url) if store_url and store.enabled else None,
        spill_dir=spill if store.enabled else None,
        shared=Secret(shared_url) if shared_url else None,
    )
    return places, problems


def state_dir(environ: Mapping[str, str]) -> Path | None:
    """The directory for state; None where the environment names none."""
    # systemd lists several directories with colons.
    if given := _absolute(environ.get("STATE_DIRECTORY", "").partition(":")[0]):
        return given
    if given := _absolute(environ.get("XDG_STATE_HOME", "")):
        return given / "lowproxy"
    if given := _absolute(environ.get("HOME", "")):
        return given / ".local" / "state" / "lowproxy"
    return None


def _absolute(path: str) -> Path | None:
    """The path where it is one; a relative one is ignored, as XDG has it."""
    return Path(path) if path.startswith("/") else None


def _url(
    table: str,
    options: Store | Shared,
    environ: Mapping[str, str],
    problems: list[str],
) -> str | None:
    if options.url and options.url_env:
        problems.append(f"{table}: found both url and url_env, needs one of them")
        return None
    if options.url_env is None:
        return options.url
    try:
        url = from_environ(options.url_env, environ)
        return _passing(url, options)
    except ValueError as exc:
        problems.append(f"{table}.url_env: {exc}")
        return None


def _passing(url: str, options: Store | Shared) -> str:
    """Checks a URL of the environment, in which a password is right."""
    check: Callable[[object], str]
    check = get_args(StoreUrl if isinstance(options, Store) else SharedUrl)[1]
    scheme, mark, rest = url.partition("://")
    bare = rest.rpartition("@")[2].partition("?")[0]
    check(f"{scheme}{mark}{bare}")
    return url
