"""``python -m aemp_core`` is the ``aemp`` command."""

from .cli import main

if __name__ == "__main__":
    main()
