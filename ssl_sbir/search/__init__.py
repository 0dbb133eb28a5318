"""Search by a drawing, a sentence, a photo, or any of them together."""
