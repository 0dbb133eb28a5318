"""Pages: templates, inline charts and pictures; made from plain facts only."""
