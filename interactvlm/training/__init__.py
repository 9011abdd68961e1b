"""Training: losses (paper section 3.4) and what is built on them."""
