"""Audits beside the accuracy: leaks, copies, diversity, and whether text or drawing dominates."""
