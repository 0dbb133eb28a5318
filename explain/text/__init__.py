"""How much each word adds to a score, and the concepts nearest to a drawing and a photo."""
