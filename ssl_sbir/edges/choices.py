"""Choices that settings offer, importable without torch."""

from typing import Literal

EdgeDetector = Literal["mixed", "sobel", "canny", "hed", "hed_lines", "all"]
