"""What a text means to the encoder, how much each word adds to a score, and the concepts nearest to a drawing and a photo."""
