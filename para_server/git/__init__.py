"""git on the host, and what runs of it in helper containers."""
