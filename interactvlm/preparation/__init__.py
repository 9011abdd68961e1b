"""Making data sets ready for training: bodies converted, parts named, masks and renders written, questions answered."""
