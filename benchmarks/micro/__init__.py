"""What each stage of a request costs by itself, in units of one JSON parse."""
