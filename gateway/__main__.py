"""`python -m gateway`: the command `trunkline` for whoever has the package but not its script on the path."""

from gateway.cli.app import main

if __name__ == "__main__":
    main()
