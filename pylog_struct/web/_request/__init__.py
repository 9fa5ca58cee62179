"""What all request middleware has in common."""
