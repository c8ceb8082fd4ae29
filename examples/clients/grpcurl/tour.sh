#!/bin/sh
# The API from a shell. Needs grpcurl and base64.
set -eu
ADDRESS=${PACHD_ADDRESS:-127.0.0.1:30650}
REPO=curl_words
PIPELINE=curl_count

call() { # METHOD, messages as JSON on standard input
  grpcurl -plaintext -d @ "$ADDRESS" "$1"
}

grpcurl -plaintext "$ADDRESS" list
call versionpb.API/GetVersion </dev/null

# What an earlier run left.
echo "{\"pipeline\": {\"name\": \"$PIPELINE\"}, \"force\": true}" | call pps.API/DeletePipeline
echo "{\"repo\": {\"name\": \"$REPO\"}, \"force\": true}" | call pfs.API/DeleteRepo

echo "{\"repo\": {\"name\": \"$REPO\"}}" | call pfs.API/CreateRepo

# Bytes are base64. Several messages are one stream, and one stream is one commit.
HEAD="{\"repo\": {\"name\": \"$REPO\"}, \"id\": \"master\"}"
call pfs.API/PutFile <<JSON
{"file": {"commit": $HEAD, "path": "/a.txt"}, "value": "$(printf 'one two three\n' | base64)"}
{"file": {"commit": $HEAD, "path": "/b.txt"}, "value": "$(printf 'four five\n' | base64)"}
JSON

call pps.API/CreatePipeline <<JSON
{
  "pipeline": {"name": "$PIPELINE"},
  "transform": {"cmd": ["sh", "-c", "wc -w < \$$REPO > /pfs/out/\$(basename \$$REPO)"]},
  "input": {"pfs": {"repo": "$REPO", "glob": "/*"}}
}
JSON

echo "{\"commits\": [$HEAD]}" | call pps.API/FlushJob | grep -E '"(state|data[A-Z][a-z]+)"'

OUTPUT="{\"repo\": {\"name\": \"$PIPELINE\"}, \"id\": \"master\"}"
for path in /a.txt /b.txt; do
  printf '%s ' "$path"
  echo "{\"file\": {\"commit\": $OUTPUT, \"path\": \"$path\"}}" | call pfs.API/GetFile |
    tr -d '"' | base64 -d
done
