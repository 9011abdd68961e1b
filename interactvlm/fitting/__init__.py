"""Joint reconstruction (paper section 5): the object's pose from contact, mask and depth."""
