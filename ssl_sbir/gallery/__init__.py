"""Searchable photos: index folders, their engines (exact, faiss, Milvus) and their updates."""
