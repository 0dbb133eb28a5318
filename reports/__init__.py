"""Pages: templates, inline charts and pictures; knows plain facts and nobody's internals."""
