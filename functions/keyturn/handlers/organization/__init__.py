"""The account that collects for all others."""
