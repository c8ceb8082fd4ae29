#!/bin/sh
# Makes Go stubs in ./gen from the .proto files; needs protoc, protoc-gen-go and protoc-gen-go-grpc.
set -eu
cd "$(dirname "$0")"
PROTO=${TUSK_PROTO:-../../../proto}
MODULE=example.com/tusk-tour/gen

mkdir -p gen
# The files name no Go package of their own: it is chosen here, once per file.
options=
for name in auth pfs pps; do
  options="$options --go_opt=M$name.proto=$MODULE/$name --go-grpc_opt=M$name.proto=$MODULE/$name"
done
# shellcheck disable=SC2086
protoc -I "$PROTO" $options \
  --go_out=gen --go_opt=module=$MODULE \
  --go-grpc_out=gen --go-grpc_opt=module=$MODULE \
  auth.proto pfs.proto pps.proto
