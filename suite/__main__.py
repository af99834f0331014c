"""`python -m greaves`, as launchers of several processes start it."""

from greaves.commands.cli import main

if __name__ == "__main__":
    main()
