#!/bin/sh
# Makes Python stubs in ./stubs from the .proto files; needs grpcio-tools.
set -eu
cd "$(dirname "$0")"
PROTO=${TUSK_PROTO:-../../../proto}
mkdir -p stubs
"${PYTHON:-python3}" -m grpc_tools.protoc -I "$PROTO" --python_out=stubs --grpc_python_out=stubs \
  auth.proto pfs.proto pps.proto
