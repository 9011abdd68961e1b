"""Retrieval of object meshes: shapes, photos and words in one embedding space (paper section 5)."""
