"""The machine that para runs on: its files, streams, signals and clock."""
