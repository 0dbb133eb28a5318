"""Facts about the named encoders, importable without torch, timm or torchvision."""

ENCODER_ENTRY_POINTS = "ssl_sbir.encoders"  # the group in which other packages offer encoders
LITE0_SIZE = 112  # px
TIMM_MODEL_COUNT = 1200  # at least so many in every timm release since 1.0.15
# The checkpoints in torch's hub that timm and torchvision name.
CHECKPOINT_URLS = {
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "vgg16_bn": "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
    "cse_resnet50": "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/se_resnet50-ce0d4300.pth",
}
