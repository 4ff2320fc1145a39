#!/bin/bash
# Trains on four GPUs of this machine. It begins a run, or goes on where one was interrupted.
set -eu
export CUDA_VISIBLE_DEVICES=0,1,2,3
exec rnnseg train --recipe voc_paper --data data/voc --out runs/voc --resume
