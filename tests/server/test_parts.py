"""The parts that every handler finds at hand."""

from tests.gateway import KEY, provider_key


async def test_no_part_shows_a_secret(serve, upstream):
    """Whoever prints the parts, by mistake or in a debugger's trace, prints no credential."""
    gateway = await serve(upstream)
    await gateway.chat()
    shown = repr(gateway.parts) + repr(gateway.gateway.catalogue)
    assert provider_key("p1") not in shown
    assert KEY not in shown


async def test_two_gateways_share_nothing(serve, upstream, other):
    """In one process, too: their counts and their health are their own."""
    first, second = await serve(upstream), await serve(other)
    await first.chat()
    await first.books.record()
    assert b'endpoint="chat"' in (await first.admin("/metrics")).body
    assert b'endpoint="chat"' not in (await second.admin("/metrics")).body
    assert first.parts.health is not second.parts.health
