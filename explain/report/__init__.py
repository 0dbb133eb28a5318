"""The explanation page: pictures, sentences, HTML."""
