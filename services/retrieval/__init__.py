"""The retrieval stage: from a crop, a text or a shape to meshes of the catalogue."""
