"""What the network sinks share: addresses, framing, connections, back-off, quiet clients."""
