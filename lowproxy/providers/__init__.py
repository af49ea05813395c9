"""Wire dialects. To add one: a module here that offers what `provider.Dialect` asks, and a line below."""

from lowproxy.providers.openai import OpenAI
from lowproxy.providers.provider import Dialect

DIALECTS: dict[str, Dialect] = {"openai": OpenAI()}
