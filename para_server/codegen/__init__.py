"""The face for developers: files that are written from the tables."""
