"""``python -m antifragile``."""

from antifragile.cli.main import main

if __name__ == "__main__":
    main()
