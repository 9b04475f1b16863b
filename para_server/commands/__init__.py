"""The commands, one story each; importing this package fills the registry."""
