"""Measurements of the gateway: load, single stages, counts."""
