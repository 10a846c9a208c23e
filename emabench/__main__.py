"""Lets ``python -m emabench`` stand for the console script."""

from emabench.cli.app.main import main

if __name__ == "__main__":
    main()
