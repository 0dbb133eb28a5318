"""What words add to a score, and which concepts a drawing and a photo stand near."""
