#!/bin/sh
# reduce.sh: the counts of one word, a line from each text that has it, become their sum.
set -eu
awk '{ sum += $1 } END { print sum }' "$map" >"/pfs/out/$(basename "$map")"
