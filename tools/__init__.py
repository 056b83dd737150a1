"""Tools for people who work on Keyturn; nothing here is deployed."""
