"""The fleet run: audit the account, choose who is due, start the rotations, gather how they end."""
