"""Files of sessions: base checkouts that sessions share, and overlays over them."""
