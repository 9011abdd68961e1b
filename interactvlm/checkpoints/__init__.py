"""Checkpoint folders: what they say, what they hold, reading, converting and diagnosing them."""
