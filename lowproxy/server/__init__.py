"""The way in: the door, the steps of a request, the relay, the admin port."""
