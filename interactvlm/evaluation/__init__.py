"""Evaluation: the published measures (paper section 4), on numpy arrays."""
