#!/bin/sh
# consolidate.sh: captions and features of one piece side by side, as links: nothing is copied.
set -eu
piece=$(basename "$features")
mkdir "/pfs/out/$piece"
ln -s "$rawdata" "/pfs/out/$piece/captions.tsv"
ln -s "$features/features.npy" "/pfs/out/$piece/features.npy"
