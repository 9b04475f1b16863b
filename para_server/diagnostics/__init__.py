"""Checks of `para.doctor`, and the trial of an engine before its first session."""
