"""Photos that can be searched: index folders, engines (exact, faiss, Milvus), and bringing them up to date."""
