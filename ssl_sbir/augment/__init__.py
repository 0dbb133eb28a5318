"""Random views of images: by kornia on a batch's device, or by torchvision in threads."""
