"""para: a container, a clone, a branch and an agent of its own for each task."""

__version__ = "0.2.0"
