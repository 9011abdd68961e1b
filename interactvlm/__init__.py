"""InteractVLM: from one photograph to contact on a body and an object."""

__version__ = "0.1.0"
