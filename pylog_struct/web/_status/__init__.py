"""Parts of the status page and of health."""
