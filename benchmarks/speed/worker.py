"""One measurement: ``CASE time REPEAT CONTESTANT...``, ``CASE memory CONTESTANT``, ``CASE check``."""

import json
import sys

import torch

from benchmarks.speed.cases import CASES
from benchmarks.speed.measure import cpu_seconds, extra_mib


def main(case: str, what: str, *args: str) -> None:
    """Print the measurement as JSON."""
    torch.set_num_threads(1)
    if what == "check":
        check = CASES[case].check
        print(json.dumps(check() if check else ""))
        return
    functions = CASES[case].build()
    if what == "memory":
        print(json.dumps(extra_mib(functions[args[0]])))
    else:
        print(json.dumps(cpu_seconds({name: functions[name] for name in args[1:]}, int(args[0]))))


if __name__ == "__main__":
    main(*sys.argv[1:])
