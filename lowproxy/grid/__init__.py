"""Where carbon intensity comes from."""
