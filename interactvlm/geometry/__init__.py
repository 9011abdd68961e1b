"""Meshes, cameras, rasterising and the maps between pixels and surfaces.

Import the modules: `mesh` and `cameras` need numpy alone, `load` trimesh, the rasterisers numba.
"""
