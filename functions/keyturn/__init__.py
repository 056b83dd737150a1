"""Keyturn: rotates the access keys of IAM machine users without cutting anybody off."""
