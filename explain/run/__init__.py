"""From a request to explanation pages: queries, galleries, runs."""
