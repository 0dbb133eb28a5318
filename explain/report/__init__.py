"""The explanation page: figures, sentences and HTML."""
