"""The language stage as a server: photos and questions in, answers with contact embeddings out."""
