"""From contact embeddings to vertices: camera gate, image encoder, mask decoder, lift, and their caches.

Importing the package is light; `model` (the facade) and its parts need torch.
"""
