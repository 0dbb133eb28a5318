"""Attribution: the methods that compute which parts of an image a similarity depends on."""
