"""What images exist, how they are split, and their pixels; `readers` opens data, `loading` decodes it."""
