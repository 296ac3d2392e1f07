"""`python -m ultramarket.cli`: the command line without its installed script."""

from ultramarket.cli import main

main()
