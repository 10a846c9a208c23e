"""Lets ``python -m emabench`` stand for the console script."""

from emabench.cli.app import main

if __name__ == "__main__":
    main()
