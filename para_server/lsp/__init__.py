"""The JSON-RPC server for editors: the only package that imports pygls and lsprotocol."""
