"""The rotation of one user: what is decided, and how it is done."""
