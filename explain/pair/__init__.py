"""Explanations of a drawing and a photo: heat maps, matched regions, contrasts with other photos."""
