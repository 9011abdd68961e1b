"""The fitting stage: body and object posed together."""
