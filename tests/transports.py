"""A transport without a socket: for a server that is given bytes by hand."""

import asyncio


class Transport(asyncio.Transport):
    """Keeps what is written; says whether more is read."""

    def __init__(self):
        super().__init__()
        self.text = b""
        self.paused = self.closed = False

    def write(self, data):
        assert not self.closed
        self.text += data

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def close(self):
        self.closed = True

    abort = close

    def is_closing(self):
        return self.closed

    def can_write_eof(self):
        return False

    def set_write_buffer_limits(self, high=None, low=None):
        pass
