"""System calls are read from a tracer's log."""

from benchmarks.load.syscalls import counted

LOG = """\
812 1700000000.100000 read(7, ""..., 65536) = 280
812 1700000000.600000 read(7, ""..., 65536) = 280
813 1700000000.600100 write(8, ""..., 282 <unfinished ...>
812 1700000000.600200 epoll_pwait(4,  <unfinished ...>
813 1700000000.600300 <... write resumed>) = 282
812 1700000000.600400 <... epoll_pwait resumed>[], 1024, 3, NULL, 8) = 1
812 1700000000.700000 --- SIGCHLD {si_signo=SIGCHLD} ---
812 1700000001.500000 read(7, ""..., 65536) = 280
812 1700000001.600000 +++ exited with 0 +++
"""


def test_calls_are_counted_once_and_within_the_window(tmp_path):
    """An interrupted call is one call; signals, exits and other times are none."""
    log = tmp_path / "log"
    log.write_text(LOG)

    assert counted(log, 1700000000.5, 1.0) == {"read": 1, "write": 1, "epoll_pwait": 1}
    assert counted(log, 1700000000.0, 2.0) == {"read": 3, "write": 1, "epoll_pwait": 1}
