"""A conversation keeps its endpoint unless leaving pays for the cached prefix that is lost.

Providers keep the prompt of a while ago in a cache: what a conversation has said already is read again at a
tenth of the energy and a fraction of the price, but only where it was said. The candidate that answered last
is kept while

    score of the best, prompt uncached  >=  score of the old, prefix cached, / (1 + MARGIN)

Conversations are known by a keyed hash, for as long as a provider's cache may hold; nothing of them is text.
"""

from collections import OrderedDict
from hashlib import blake2b
from typing import NamedTuple

from lowproxy.core.chat import ChatRequest
from lowproxy.core.expected import LEAST_G, LEAST_PRICE
from lowproxy.core.policy import Weights
from lowproxy.core.score import BYTES_PER_TOKEN, Size
from lowproxy.core.upstreams import Candidate

# What a cached token takes of a fresh one's energy; the price list says what it costs.
CACHED_ENERGY = 0.1
# Below this gain a move is not worth what it upsets.
MARGIN = 0.2
# Shorter prompts are cached by nobody.
LEAST_PROMPT_TOKENS = 1024
LEAST_PROMPT_BYTES = LEAST_PROMPT_TOKENS * BYTES_PER_TOKEN
# How much of the first message tells conversations apart.
_OPENING_BYTES = 4096


class Stay(NamedTuple):
    """Where a conversation was, and how many tokens of it that place has read."""

    candidate: str
    tokens: int


class Affinity:
    """Where recent conversations were. Bounded, forgetful, on an argument's clock in seconds."""

    def __init__(self, secret: bytes, ttl_s: float, most: int = 4096) -> None:
        self._secret = secret
        self._ttl_s = ttl_s
        self._most = most
        self._seen: OrderedDict[bytes, tuple[Stay, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def key(self, chat: ChatRequest, owner: str) -> bytes | None:
        """What a conversation is known by: the caller's key, its user, the model and the first message.

        None where the prompt is too short for anybody's cache.
        """
        if chat.prompt_bytes < LEAST_PROMPT_BYTES:
            return None
        body = chat.body
        start = body.find(b'"messages"')
        # The first brace that closes is within the first message, or its end: in every turn the same.
        end = body.find(b"}", start, start + _OPENING_BYTES)
        opening = body[start : end if end > 0 else start + _OPENING_BYTES]
        hashed = blake2b(opening, digest_size=16, key=self._secret)
        hashed.update(repr((owner, chat.user, chat.models)).encode())
        return hashed.digest()

    def stay(self, key: bytes, now: float) -> Stay | None:
        """Where that conversation was, if its cache may still hold."""
        found = self._seen.get(key)
        if found is None or now - found[1] > self._ttl_s:
            return None
        return found[0]

    def keep(self, key: bytes, candidate: str, tokens: int, now: float) -> None:
        """An answer came from there, to a prompt of so many tokens."""
        self._seen[key] = Stay(candidate, tokens), now
        self._seen.move_to_end(key)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)


def stays(
    stay: Stay,
    old: Candidate,
    scores: tuple[float, float],
    size: Size,
    weights: Weights,
    carbon_price: float = 0.0,
) -> bool:
    """Whether the conversation stays at `old`. `scores` are its own, nothing cached, and the best."""
    own, best = scores
    prompt, answer = size
    if answer is None:
        answer = old.model.answer_tokens
    cached = min(stay.tokens, prompt)
    grams = less_grams = 0.0
    if old.ranked is not None:
        grams = old.ranked.of(prompt, answer)
        # The answer looks back on all of the prompt, read afresh or not.
        less_grams = grams - (1 - CACHED_ENERGY) * old.ranked.prompt * cached
        own *= ((less_grams + LEAST_G) / (grams + LEAST_G)) ** weights.carbon
    if old.prices is not None:
        whole = old.prices.of(prompt, answer)
        less = whole - (old.prices.prompt - old.prices.cached) * cached
        whole += carbon_price * grams + LEAST_PRICE
        less += carbon_price * less_grams + LEAST_PRICE
        own *= (less / whole) ** weights.price
    return own <= best * (1 + MARGIN)
