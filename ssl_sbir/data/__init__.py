"""Which images there are, how their classes are split, and their pixels; `readers` opens data."""
