"""``python -m mcutrain``."""

from mcutrain.cli import main

if __name__ == "__main__":
    main()
