"""The directory of prometheus-client's multiprocess mode: what its files say, and folding those of dead workers."""
