"""What events start."""
