"""What happened on a host: the stream of events, its history, the file that keeps it."""
