#!/bin/bash
# Trains on several machines, which are started by ssh from the folder that all of them share:
#     bash machines.sh HOST HOST...
# The first machine writes the run. It begins a run, or goes on where one was interrupted. When one
# machine fails, all end; start them again by the same command.
set -eu
port=2222
addresses=$(printf "%s:$port," "$@")
pids=()
index=0
for host in "$@"; do
    ssh -tt "$host" "cd '$PWD' && bash worker.sh $index ${addresses%,} \
        rnnseg train --recipe voc_paper --data data/voc --out runs/voc --resume" < /dev/null &
    pids+=($!)
    index=$((index + 1))
done
status=0
for pid in "${pids[@]}"; do
    wait "$pid" || status=$?
done
exit $status
