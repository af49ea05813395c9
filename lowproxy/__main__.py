"""`python -m lowproxy` is the same as `lowproxy`."""

import sys

from lowproxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
