"""The chassis every server stands on: calls, errors, batching, health, metrics, tracing, auth, drain."""
