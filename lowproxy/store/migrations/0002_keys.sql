-- Callers' keys: the hash of each, and what it may do as JSON (the fields of a [[keys]] row).
CREATE TABLE caller_keys (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    policy TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL
);

-- One row: how often the keys have changed. Gateways look at it, and read the keys when it has moved.
CREATE TABLE key_changes (
    id INTEGER PRIMARY KEY,
    version BIGINT NOT NULL
);

INSERT INTO key_changes (id, version) VALUES (1, 0);
