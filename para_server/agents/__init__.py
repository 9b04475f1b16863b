"""Agents: what there is to know of each, and how one is supervised."""
