"""`python -m stackpop`."""

from stackpop.cli import main

main()
