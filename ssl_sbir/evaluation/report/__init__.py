"""Results as a page, a summary and files."""
