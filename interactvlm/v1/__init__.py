"""Generated from protos/ by `python -m tools.protos generate`; never edited."""
