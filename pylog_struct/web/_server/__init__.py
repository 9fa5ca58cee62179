"""What the servers' logging has in common."""
