"""Builds of the shipped assets and of the generated code."""
