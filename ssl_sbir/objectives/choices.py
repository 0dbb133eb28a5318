"""Choices that settings offer, importable without torch."""

from typing import Literal

Distance = Literal["euclidean", "cosine"]
NegativeMining = Literal["random", "semi-hard", "hard"]
Tilt = Literal["published", "calibrated"]
UnknownClasses = Literal["refuse", "neutral"]
