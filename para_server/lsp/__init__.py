"""The face for editors: the only package that imports pygls and lsprotocol."""
