#!/bin/sh
# map.sh: counts the words of the datum's text; /pfs/out/WORD gets a line with the count.
set -eu
tr -cs "A-Za-z'" '\n' <"$texts" | tr A-Z a-z | sed "s/^'*//; s/'*$//" | grep . | sort | uniq -c |
  while read -r count word; do echo "$count" >"/pfs/out/$word"; done
echo "$(basename "$texts"): $(ls /pfs/out | wc -l) different words"
