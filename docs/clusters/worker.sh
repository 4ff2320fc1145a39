#!/bin/bash
# Runs a command as one of several workers, by setting TF_CONFIG:
#     bash worker.sh INDEX HOST:PORT,HOST:PORT,... COMMAND...
set -eu
index=$1
addresses=\"${2//,/\", \"}\"
shift 2
export TF_CONFIG="{\"cluster\": {\"worker\": [$addresses]}, \"task\": {\"type\": \"worker\", \"index\": $index}}"
exec "$@"
