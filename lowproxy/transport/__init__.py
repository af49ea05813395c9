"""The way up: connections to upstreams, attempts and failover."""
