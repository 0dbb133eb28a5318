"""Loss terms and what they need: tensors in, scalars out."""
