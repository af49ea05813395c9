"""LowRouter: a streaming gateway for OpenAI-compatible APIs that weighs its carbon."""

__version__ = "0.1.0"
