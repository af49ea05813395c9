"""The decisions: values in, values out; no sockets, clocks, files or logs."""
