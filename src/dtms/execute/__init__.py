"""Do it, and record what really happened."""
