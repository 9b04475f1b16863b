"""Agents: a profile and a login for each, their supervisor, and what they report."""
