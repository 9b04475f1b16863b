"""The container engine: the only package that imports docker."""
