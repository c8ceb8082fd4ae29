"""has-packages.py REQUIREMENTS: succeeds when this Python has exactly the pinned packages."""
import re
import sys
from importlib.metadata import PackageNotFoundError, version

for line in open(sys.argv[1]):
    pinned = re.match(r"([\w.-]+)==(\S+)", line)
    if pinned is None:
        continue
    try:
        if version(pinned[1]) != pinned[2]:
            sys.exit(1)
    except PackageNotFoundError:
        sys.exit(1)
