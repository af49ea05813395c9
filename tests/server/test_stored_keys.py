"""Keys of the store are there before anybody is let in."""

from lowproxy.config.rows import KeyRow
from lowproxy.core.keys import hash_key
from lowproxy.store import keys_table
from lowproxy.store.connecting import open_migrated
from tests.gateway import CHAT, ask


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
