"""Settings of an encoder small enough to train within a test."""

TINY_ENCODER = ("encoder.name=timm:test_efficientnet", "encoder.pretrained=false", "encoder.size=32")
