"""`python -m ssl_sbir` is the command line."""

from ssl_sbir.cli import main

main()
