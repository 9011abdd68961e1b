"""Annotated photographs from every source in one form: our synthetic shards and the published data sets."""
