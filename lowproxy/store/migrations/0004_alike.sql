-- What requests that went alike have in common stands once, here, and they refer to it: the model, the place,
-- the estimate's provenance, the decision. Kept for as long as a request may refer to it, and some hours more.
CREATE TABLE alike (
    id BIGINT PRIMARY KEY,
    made_at DOUBLE PRECISION NOT NULL,
    error TEXT,
    requested_model TEXT,
    resolved_model TEXT,
    provider TEXT,
    region TEXT,
    tokens_counted INTEGER,
    currency TEXT,
    accuracy TEXT,
    methodology_version TEXT,
    zone TEXT,
    grid_g_per_kwh DOUBLE PRECISION,
    grid_live INTEGER,
    eco TEXT,
    attempts TEXT,
    decision TEXT
);

CREATE INDEX alike_made_at ON alike (made_at);

ALTER TABLE requests ADD COLUMN alike BIGINT;

-- Requests as they are read, however they were put down. A decision and what became of the request are two
-- JSON objects, made into one.
CREATE VIEW records AS
SELECT
    r.generation_id, r.created_at, r.completed_at, r.endpoint, r.http_status, r.status,
    COALESCE(r.error, a.error) AS error,
    r.key_id,
    COALESCE(r.requested_model, a.requested_model) AS requested_model,
    COALESCE(r.resolved_model, a.resolved_model) AS resolved_model,
    COALESCE(r.provider, a.provider) AS provider,
    COALESCE(r.region, a.region) AS region,
    r.streamed, r.latency_ms, r.duration_ms, r.prompt_tokens, r.completion_tokens,
    COALESCE(r.total_tokens, r.prompt_tokens + r.completion_tokens) AS total_tokens,
    r.cached_tokens, r.reasoning_tokens,
    COALESCE(r.tokens_counted, a.tokens_counted) AS tokens_counted,
    r.cost_nano,
    COALESCE(r.currency, a.currency) AS currency,
    r.energy_wh, r.energy_wh_low, r.energy_wh_high, r.carbon_g, r.carbon_g_low, r.carbon_g_high,
    r.embodied_g, r.water_ml,
    COALESCE(r.accuracy, a.accuracy) AS accuracy,
    COALESCE(r.methodology_version, a.methodology_version) AS methodology_version,
    COALESCE(r.zone, a.zone) AS zone,
    COALESCE(r.grid_g_per_kwh, a.grid_g_per_kwh) AS grid_g_per_kwh,
    COALESCE(r.grid_live, a.grid_live) AS grid_live,
    COALESCE(r.eco, a.eco) AS eco,
    r.wasted_wh, r.wasted_g, r.unreadable_events,
    COALESCE(r.attempts, a.attempts) AS attempts,
    CASE
        WHEN a.decision IS NULL THEN r.routing_trace
        ELSE substr(a.decision, 1, length(a.decision) - 1) || ',' || substr(r.routing_trace, 2)
    END AS routing_trace
FROM requests r
LEFT JOIN alike a ON a.id = r.alike;
