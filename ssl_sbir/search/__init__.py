"""Search by a drawing, a sentence, a photo, or several of them together."""
