"""``python -m dtms`` is the command ``dtms``."""

from dtms.cli import main

if __name__ == "__main__":
    main()
