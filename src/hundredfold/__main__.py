"""``python -m hundredfold``: the command line."""

from hundredfold.cli import main

if __name__ == "__main__":
    main()
