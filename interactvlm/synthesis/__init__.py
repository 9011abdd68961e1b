"""Procedural scenes of people and objects with exact contact labels."""
