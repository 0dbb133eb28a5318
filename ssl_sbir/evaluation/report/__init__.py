"""Results as a page, a text summary and files."""
