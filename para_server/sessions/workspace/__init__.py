"""Where the files of a session are: checkouts that sessions share, and layers over them."""
