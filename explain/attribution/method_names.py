"""What each method is called and what its maps mean, for people."""

METHOD_NAMES = {
    "gradcam": "heat maps by Grad-CAM",
    "regions": "heat maps by region sums",
    "occlusion": "heat maps by covering",
    "strokes": "stroke maps",
    "integrated": "heat maps by integrated gradients",
    "attention": "attention maps",
}
METHOD_MEANINGS = {
    "gradcam": "Where the encoder's last map of places pulls drawing and photo together (gradient of the score).",
    "regions": "What each region adds to the score; the regions' sums are exactly the score.",
    "occlusion": "What the score loses when a window is covered (occlusion).",
    "strokes": "What the score loses without each stroke of the drawing.",
    "integrated": "What each pixel adds on the way from an empty picture to this one.",
    "attention": "Which patches the feature is made of, whatever the other picture is.",
}
