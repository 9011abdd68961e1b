"""The second phase of a fresh nano: the mask half learns what regions of the body look like, without the photos."""
