"""The first phase of a fresh nano: its image projector learns to see, without the language model."""
