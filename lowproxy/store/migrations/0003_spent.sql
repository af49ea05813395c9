-- What a key has spent, and what an hour took, are summed from the index alone: a start reads no row for it.
DROP INDEX requests_created_at;
CREATE INDEX requests_created_at ON requests (created_at, key_id, cost_nano, carbon_g);
