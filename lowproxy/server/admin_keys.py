"""`/keys` on the admin port: makes, shows, edits, rotates and deletes keys of the store.

With a credential of its own (`server.admin_key_env`, `server.admin_key_file`); without one nobody is let in.
A key is in one answer only, that to the request which made it.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web

from lowproxy.config.policy import read_policy
from lowproxy.config.values import name as checked_name
from lowproxy.core.access import ApiKey
from lowproxy.core.headers import bearer
from lowproxy.core.keys import hash_key, make_key
from lowproxy.core.parsing import loads
from lowproxy.server.parts import Live, Parts
from lowproxy.store import keys_table
from lowproxy.store.connecting import open_migrated
from lowproxy.store.database import Database, StoreError
from lowproxy.store.keys_table import KeyTableError, NoSuchKeyError, StoredKey

_ENABLE = (
    "the key API is off: name a credential of at least 40 characters for it in server.admin_key_env or "
    "server.admin_key_file"
)
_NO_STORE = "no store is configured: set store.url, or edit the [[keys]] rows of the configuration file"
MAX_BODY_BYTES = 64 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Work = Callable[[Database], Any]


def add_keys(app: web.Application, live: Live) -> None:
    """Adds the routes."""
    guard = partial(_guarded, live)
    app.router.add_get("/keys", guard(_list))
    app.router.add_post("/keys", guard(_new))
    app.router.add_get("/keys/{name}", guard(_show))
    app.router.add_patch("/keys/{name}", guard(_edit))
    app.router.add_delete("/keys/{name}", guard(_delete))
    app.router.add_post("/keys/{name}/rotate", guard(_rotate))


def _guarded(
    live: Live, handle: Callable[[Parts, web.Request], Awaitable[web.Response]]
) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        parts = live.parts
        secret = parts.config.admin_key
        if secret is None:
            return _error(403, "admin_api_off", _ENABLE)
        # Compared as hashes: neither length nor content shows in the time it takes.
        token = hash_key(
            (bearer(request.headers.get("Authorization")) or "")
            .encode("utf-8", "replace")
            .decode()
        )
        if not hmac.compare_digest(token, hash_key(secret.reveal())):
            text = "send the admin credential as 'Authorization: Bearer ...'"
            return _error(401, "invalid_admin_key", text)
        try:
            return await handle(parts, request)
        except NoSuchKeyError as exc:
            return _error(404, "key_not_found", str(exc))
        except KeyTableError as exc:
            return _error(400, "invalid_request", str(exc))
        except StoreError as exc:
            return _error(503, "store_away", str(exc))

    return guarded


async def _list(parts: Parts, request: web.Request) -> web.Response:
    rows = [_configured(key) for key in parts.keys.configured]
    if parts.config.places.store is not None:
        _, stored = await _in_store(parts, keys_table.load, changes=False)
        rows += [_told(each) for each in stored]
    return web.json_response({"data": rows})


async def _new(parts: Parts, request: web.Request) -> web.Response:
    fields = await _fields(request)
    try:
        name = checked_name(fields.pop("name", None))
    except ValueError as exc:
        raise KeyTableError(f"name: {exc}") from None
    row, problems = read_policy(name, fields)
    if row is None:
        raise KeyTableError("; ".join(problems))
    _not_configured(parts, name)
    key = make_key(secrets.token_urlsafe(32))
    work = partial(keys_table.add, row=row, digest=hash_key(key), now=time.time())
    stored = await _in_store(parts, work)
    return web.json_response({**_told(stored), "key": key}, status=201)


async def _show(parts: Parts, request: web.Request) -> web.Response:
    name = request.match_info["name"]
    for key in parts.keys.configured:
        if key.name == name:
            return web.json_response(_configured(key))
    work = partial(keys_table.find, name=name)
    return web.json_response(_told(await _in_store(parts, work, changes=False)))


async def _edit(parts: Parts, request: web.Request) -> web.Response:
    name, fields = request.match_info["name"], await _fields(request)
    _not_configured(parts, name)
    work = partial(keys_table.edit, name=name, fields=fields, now=time.time())
    return web.json_response(_told(await _in_store(parts, work)))


async def _rotate(parts: Parts, request: web.Request) -> web.Response:
    name = request.match_info["name"]
    _not_configured(parts, name)
    key = make_key(secrets.token_urlsafe(32))
    digest, now = hash_key(key), time.time()
    work = partial(keys_table.rotate, name=name, digest=digest, now=now)
    stored = await _in_store(parts, work)
    return web.json_response({**_told(stored), "key": key})


async def _delete(parts: Parts, request: web.Request) -> web.Response:
    name = request.match_info["name"]
    _not_configured(parts, name)
    await _in_store(parts, partial(keys_table.delete, name=name))
    return web.Response(status=204)


async def _in_store(parts: Parts, work: Work, *, changes: bool = True) -> Any:
    """Does it on a connection of its own; a change holds here from the next request on."""
    place = parts.config.places.store
    if place is None:
        raise KeyTableError(_NO_STORE)
    url, timeout_s = place.reveal(), parts.config.store.timeout_s

    def done() -> tuple[Any, tuple[int, list[StoredKey]] | None]:
        database = open_migrated(url, timeout_s)
        try:
            result = work(database)
            return result, keys_table.load(database) if changes else None
        finally:
            database.close()

    result, loaded = await asyncio.to_thread(done)
    if loaded is not None:
        version, stored = loaded
        parts.keys.use(version, [each.key for each in stored])
    return result


async def _fields(request: web.Request) -> dict[str, Any]:
    body = await request.content.read(MAX_BODY_BYTES + 1)
    try:
        fields = loads(body) if len(body) <= MAX_BODY_BYTES else None
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise KeyTableError("the body must be a JSON object of at most 64 KiB")
    return fields


def _not_configured(parts: Parts, name: str) -> None:
    if any(key.name == name for key in parts.keys.configured):
        raise KeyTableError(
            f"the key {name!r} is the configuration's: it is edited there"
        )


def _told(stored: StoredKey) -> dict[str, Any]:
    return {**stored.as_json(), "source": "store"}


def _configured(key: ApiKey) -> dict[str, Any]:
    return {"name": key.name, "enabled": key.enabled, "source": "configuration"}


def _error(status: int, code: str, text: str) -> web.Response:
    error = {"message": text, "type": "admin_error", "param": None, "code": code}
    return web.json_response({"error": error}, status=status)
