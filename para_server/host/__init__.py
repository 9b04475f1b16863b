"""Access the host: its files, streams, signals and clock."""
