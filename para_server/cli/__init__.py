"""The face for people and scripts at a terminal."""
