"""What is measured: protocols, measures, ties, intervals, chance."""
