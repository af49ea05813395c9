"""Small JSON texts put together by hand, where every request makes one.

A dictionary that is built only to be serialised costs several times what its text does.
"""

from functools import lru_cache

import orjson


@lru_cache(4096)
def quoted(text: str) -> str:
    """A JSON string, for names that come again and again."""
    return orjson.dumps(text).decode()
