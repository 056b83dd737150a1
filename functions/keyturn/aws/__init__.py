"""Adapters: the only code that talks to AWS, with a timeout and a retry rule for every call."""
