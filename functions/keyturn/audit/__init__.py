"""The audit of an account's credentials: a pure library over credential reports."""
