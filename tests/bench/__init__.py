"""What para costs, against what it would be without para; run by `make bench`."""
