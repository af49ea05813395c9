"""The gateway under load, beside nginx and others."""
