"""The admin port's page in a real browser: what a person sees of real requests, and how."""

import asyncio

import pytest

from tests.chromium import PROGRAM, chromium
from tests.fakes import Answer, FakeUpstream
from tests.gateway import KEY, MODEL, ask, asking, gateway_over, uvloop_factories

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed"),
]

CANARY = "canary words of a prompt"
LIVE = "document.querySelector('#live').textContent.includes('live')"


def pytest_asyncio_loop_factories():
    """uvloop, as `lowproxy serve` picks it."""
    return uvloop_factories()


@pytest.fixture
async def seen(tmp_path):
    """A gateway that has served three streams and a failure, and its page in a browser."""
    async with (
        FakeUpstream() as upstream,
        chromium() as tab,
        gateway_over(tmp_path, upstream) as gateway,
    ):
        for _ in range(3):
            await gateway.chat(asking(usage=True))
        upstream.script = [Answer.of({"error": {"message": "no"}}, status=500)]
        await gateway.chat(ask(messages=[{"role": "user", "content": CANARY}]))
        await gateway.books.record(4)
        await tab.look()
        await tab.open(f"http://127.0.0.1:{gateway.admin_port}/")
        await tab.until(LIVE)
        yield gateway, tab


async def text(tab, selector):
    """What an element says."""
    return await tab.ask(f"document.querySelector({selector!r}).innerText")


async def test_it_shows_what_has_happened(seen):
    """Requests, failures, tokens, health, the grid, and each of the last requests with its attempts."""
    _, tab = seen
    row = await tab.ask("document.querySelector('#providers tbody tr').innerText")
    assert row.split("\t")[:2] == ["p1", "4"]
    assert "▲1 (25" in row
    assert "in use" in await text(tab, "#upstreams")
    assert "FR" in await text(tab, "#grid")
    assert "4 since the start" in await text(tab, "#total")
    assert "CO₂e" in await text(tab, "#carbon")
    outcomes = await tab.ask(
        "[...document.querySelectorAll('#last tbody td.state')].map(x => x.innerText)"
    )
    assert outcomes == ["▲upstream's error 502", "●ok", "●ok", "●ok"]
    await tab.ask("document.querySelector('#last .open').click()")
    assert f"p1-eu-west/{MODEL}: upstream_status" in await text(tab, "#last .trace")


async def test_it_stays_live(seen):
    """A request that ends while somebody looks is there a second later; what was opened stays open."""
    gateway, tab = seen
    await tab.ask("document.querySelector('#last .open').click()")
    await gateway.chat()
    await tab.until("document.querySelectorAll('#last .open').length === 5")
    opened = "document.querySelectorAll('#last [aria-expanded=true]').length"
    assert await tab.ask(opened) == 1


async def test_it_can_be_paused(seen):
    """Nothing moves, and nobody asks the gateway."""
    gateway, tab = seen
    await tab.ask("document.querySelector('#pause').click()")
    assert "paused" in await text(tab, "#live")
    await gateway.chat()
    await tab.ask("document.querySelector('#pause').click()")
    await tab.until("document.querySelectorAll('#last .open').length === 5")


async def test_it_is_self_contained(seen):
    """No complaint of the browser, its policy included; no request to anybody else; no text, no key."""
    gateway, tab = seen
    await gateway.chat()
    await tab.until("document.querySelectorAll('#last .open').length === 5")
    own = f"http://127.0.0.1:{gateway.admin_port}/"
    assert tab.complaints == []
    assert {url for url in tab.asked if not url.startswith("data:")} == {
        own,
        own + "events",
    }
    whole = await tab.ask("document.documentElement.outerHTML")
    assert CANARY not in whole
    assert KEY not in whole


async def test_the_keyboard_is_enough(seen):
    """In the order of reading: past everything to the requests, pause, each request's details."""
    _, tab = seen
    where = "(document.activeElement.id || document.activeElement.className)"
    order = []
    for _ in range(4):
        await tab.press("Tab")
        order.append(await tab.ask(where))
    assert order == ["skip", "pause", "open", "open"]
    await tab.press("Enter")
    assert (
        await tab.ask("document.activeElement.getAttribute('aria-expanded')") == "true"
    )
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    assert await tab.ask(ring) == "solid"


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
async def test_no_width_scrolls_sideways(seen, width):
    """Phones included, with a request's details open."""
    _, tab = seen
    await tab.look(width=width)
    await tab.ask("document.querySelector('#last .open').click()")
    assert await tab.ask(TOO_WIDE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read_in_both_schemes(seen, scheme):
    """Every text stands out from its ground by 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    _, tab = seen
    await tab.look(prefers_color_scheme=scheme)
    worst = await tab.ask(CONTRAST)
    assert worst[0] >= 4.5, worst
    ground = await tab.ask("getComputedStyle(document.body).backgroundColor")
    light = int(ground.partition("(")[2].partition(",")[0]) > 128
    assert light == (scheme == "light")


async def test_nothing_moves_for_who_does_not_want_it(seen):
    """`prefers-reduced-motion`."""
    _, tab = seen
    moving = (
        "getComputedStyle(document.querySelector('.ruler .mid')).transitionDuration"
    )
    assert await tab.ask(moving) != "0s"
    await tab.look(prefers_reduced_motion="reduce")
    assert await tab.ask(moving) == "0s"


async def test_the_end_of_the_gateway_is_told(tmp_path):
    """A page that has lost its gateway says so, and does not hold the gateway up as it stops."""
    async with FakeUpstream() as upstream, chromium() as tab:
        async with gateway_over(tmp_path, upstream) as gateway:
            await tab.open(f"http://127.0.0.1:{gateway.admin_port}/")
            await tab.until(LIVE)
            loop = asyncio.get_running_loop()
            began = loop.time()
        assert loop.time() - began < 30
        await tab.until(
            "document.querySelector('#live').textContent.includes('reconnect')"
        )


# What reaches beyond the window, where the window can be scrolled to it.
TOO_WIDE = """
(() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  return [...document.querySelectorAll("body *")]
    .filter(node => node.getBoundingClientRect().right > root.clientWidth + 0.5)
    .map(node => `${node.tagName}.${node.className} ${node.textContent.slice(0, 30)}`);
})()
"""

# Relative luminance and contrast as WCAG defines them, over every element with text of its own.
CONTRAST = """
(() => {
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = node => {
    for (; node; node = node.parentElement) {
      const c = parts(getComputedStyle(node).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  for (const node of document.querySelectorAll("body *")) {
    if (!node.checkVisibility() || node.closest("script, style")) continue;
    if (![...node.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, node.textContent.slice(0, 40)];
  }
  return worst;
})()
"""
