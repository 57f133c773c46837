"""``python -m headstart``: the command line, where its script is not on the path."""

from headstart.cli.app import main

if __name__ == "__main__":
    main()
