#!/bin/sh
# shuffle.sh: files of both repos, put into one folder for each fruit. Only names are needed, so the
# inputs are empty_files; a link to an input becomes the whole file in the output.
set -eu
for file in /pfs/pictures/*.png /pfs/prices/*.json; do
  [ -e "$file" ] || continue
  name=$(basename "$file")
  mkdir -p "/pfs/out/${name%.*}"
  case $name in
    *.png) ln -s "$file" "/pfs/out/${name%.*}/picture.png" ;;
    *.json) ln -s "$file" "/pfs/out/${name%.*}/price.json" ;;
  esac
  echo "$name has $(wc -c <"$file") bytes here"
done
