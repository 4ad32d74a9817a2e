"""`python -m fedstats`: the same as the command `fedstats`."""

from fedstats.cli import main

main()
