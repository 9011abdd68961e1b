"""The public API: one photo's pipeline over the stage servers, meshes, replay, balancing."""
