"""Keys of the store are there before anybody is let in."""

import time

from lowproxy.config.rows import KeyRow
from lowproxy.core.keys import hash_key
from lowproxy.store import keys_table
from lowproxy.store.connecting import open_migrated
from tests.fakes import FakeUpstream
from tests.gateway import CHAT, MODEL, Place, ask


async def test_a_stored_key_is_good_from_the_first_request(serve, upstream, tmp_path):
    """A restart turns nobody away."""
    url, key = f"sqlite://{tmp_path}/books.db", "lr-sk-" + "y" * 43
    database = open_migrated(url)
    keys_table.add(database, KeyRow("dora"), hash_key(key), 1.0)
    database.close()
    gateway = await serve(upstream, extra=f'[store]\nurl = "{url}"')
    async with gateway.caller(key=key) as caller:
        reply = await caller.post(CHAT, ask())
        assert reply.status == 200
        await reply.rest()
    assert (await gateway.books.record()).key_id == "dora"


async def test_a_stored_keys_carbon_limit_steers(serve, tmp_path):
    """As a configured one's: what was sent to the cheaper place goes to the cleaner one once grams run short."""
    url, key = f"sqlite://{tmp_path}/books.db", "lr-sk-" + "y" * 43
    database = open_migrated(url)
    row = KeyRow("dora", prefer_low_carbon=False, daily_carbon_g=0.5)
    keys_table.add(database, row, hash_key(key), 1.0)
    database.close()
    async with FakeUpstream() as dirty, FakeUpstream() as clean:
        places = (Place(dirty, "eu-central", zone="PL"), Place(clean, "uk", zone="GB"))
        gateway = await serve(*places, extra=f'[store]\nurl = "{url}"')
        budgets = gateway.parts.carbon
        assert budgets is not None, "the first key with such a limit begins it"
        for number in range(2):
            async with gateway.caller(key=key) as caller:
                reply = await caller.post(CHAT, ask(model=MODEL, max_tokens=50))
                assert reply.status == 200
                await reply.rest()
            await gateway.books.record(number + 1)
            holder = gateway.parts.keys.identify(key, 0.0)
            budgets.took(holder, 0.4, time.monotonic())
        assert budgets.price(holder, time.monotonic()) > 0
    assert (dirty.requests.count, clean.requests.count) == (1, 1)


async def test_a_stored_key_without_one_costs_no_look(serve, upstream, tmp_path):
    """Where nobody has a carbon budget there is nothing to ask."""
    url = f"sqlite://{tmp_path}/books.db"
    database = open_migrated(url)
    keys_table.add(database, KeyRow("dora"), hash_key("lr-sk-" + "y" * 43), 1.0)
    database.close()
    gateway = await serve(upstream, extra=f'[store]\nurl = "{url}"')
    assert gateway.parts.carbon is None
