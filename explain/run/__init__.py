"""From a request to explanation pages: choose queries, rank photos, explain the results, write pages."""
