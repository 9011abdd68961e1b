"""Training: losses and objective (paper section 3.4), targets, and the trainable model's forward pass."""
