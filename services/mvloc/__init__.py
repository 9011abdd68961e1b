"""The localization stage as a server: contact embeddings in, contact per vertex out."""
