"""Coordinate tasks, threads and processes: cancellation, locks and shared results."""
