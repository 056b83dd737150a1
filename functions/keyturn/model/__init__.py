"""What is known about a user and its rotation, and the words of the contract."""
