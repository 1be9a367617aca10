"""What the six families share: randomness, loops, status, validation, statistics, sharding, discovery."""
