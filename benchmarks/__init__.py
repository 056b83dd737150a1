"""What `make bench` runs: the figures that Keyturn promises, measured here and now."""
