"""A week of routing, simulated: real decisions, a measured grid, a published trace's shape."""
