"""Each method's name and the meaning of its maps, as shown to readers."""

METHOD_NAMES = {
    "gradcam": "heat maps by Grad-CAM",
    "regions": "heat maps by region sums",
    "occlusion": "heat maps by occlusion",
    "strokes": "stroke maps",
    "integrated": "heat maps by integrated gradients",
    "attention": "attention maps",
}
METHOD_MEANINGS = {
    "gradcam": "Where the encoder's last feature map raises the score, by its gradient.",
    "regions": "How much each region adds to the score; all regions together add up to exactly the score.",
    "occlusion": "How much the score drops when a window of the image is covered.",
    "strokes": "How much the score drops without each stroke of the drawing.",
    "integrated": "How much each pixel adds as a blank image turns into this one.",
    "attention": "How much each patch contributes to the embedding, regardless of the other image.",
}
