"""What a caller can read about the figures that it gets."""

import hashlib
from importlib.resources import files

import pytest

from lowproxy.core.eco_methods import METHODS


async def got(gateway, path):
    """Status and JSON of a GET."""
    async with gateway.caller() as caller:
        reply = await caller.get(path)
        return reply.status, await reply.json()


async def test_the_list(serve, upstream):
    """Every version, and which one makes this gateway's figures."""
    gateway = await serve(upstream)
    status, answer = await got(gateway, "/api/v1/eco/methodologies")

    assert (status, answer["object"]) == (200, "list")
    assert [row["version"] for row in answer["data"]] == list(METHODS)
    active = [row["version"] for row in answer["data"] if row["active"]]
    assert active == [row["version"] for row in answer["data"] if row["default"]]


async def test_the_configured_one_is_active(serve, upstream):
    """By its short name, too."""
    extra = '[eco]\nmethodology = "ecologits"\n'
    gateway = await serve(upstream, extra=extra)
    _, answer = await got(gateway, "/v1/eco/methodologies")

    assert [row["name"] for row in answer["data"] if row["active"]] == ["ecologits"]


@pytest.mark.parametrize("version", [*METHODS, "roofline", "v0.4%2Dcompat"])
async def test_one(serve, upstream, version):
    """Formula, coefficients, hashes of what is on the disk, dates, licences."""
    gateway = await serve(upstream)
    status, answer = await got(gateway, f"/api/v1/eco/methodologies/{version}")

    assert status == 200
    assert answer["formula"]["id"]
    assert answer["formula"]["text"]
    assert all(row["unit"] is not None for row in answer["coefficients"])
    assert answer["ecologits_version"] == "0.11.3"
    assert answer["grid"][0]["at"] == "2025"
    assert answer["grid"][0]["source"]
    assert "MPL-2.0" in answer["licenses"]
    for row in answer["data"]:
        content = (files("lowproxy") / "data" / row["file"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("version", ["v9.9-2031-01", "", "a/b", "%0d%0a"])
async def test_no_such_one(serve, upstream, version):
    """404 with those there are; what was asked for is not repeated."""
    gateway = await serve(upstream)
    status, answer = await got(gateway, f"/api/v1/eco/methodologies/{version}")

    assert status == 404
    error = answer["error"]
    assert error["type"] == "not_found_error"
    assert error["message"].startswith("no such methodology; there are v")
    assert all(known in error["message"] for known in METHODS)


async def test_only_with_a_key(serve, upstream):
    """Like every path of the API."""
    gateway = await serve(upstream)
    async with gateway.caller(key=None) as caller:
        reply = await caller.get("/api/v1/eco/methodologies")
        assert reply.status == 401
