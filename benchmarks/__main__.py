"""``python -m benchmarks``: run studies, and show their tables and pictures."""

import sys

if __name__ == "__main__":
    try:
        from benchmarks.cli import main
    except ImportError as error:
        sys.exit(f"{error}: pip install '.[bench]'")
    sys.exit(main(sys.argv[1:]))
