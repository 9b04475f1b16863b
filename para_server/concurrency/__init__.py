"""How tasks, threads and processes work beside each other: cancellation, locks, shared results."""
