"""``python -m benchmarks``: run studies, and show their tables and pictures."""

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["speed"]:
        from benchmarks.speed import main as speed

        speed(sys.argv[2:])
    elif sys.argv[1:2] == ["cluster"]:
        from benchmarks.clustering.run import main as cluster

        cluster(sys.argv[2:])
    else:
        try:
            from benchmarks.accuracy.cli import main
        except ImportError as error:
            sys.exit(f"{error}: pip install 'pyg-relational[bench]'")
        sys.exit(main(sys.argv[1:]))
