#!/bin/bash
# Trains on two machines of a SLURM cluster: sbatch slurm.sh, in the folder that all of them share.
# It begins a run, or goes on where one was interrupted, also when SLURM starts it again.
#SBATCH --job-name=rnnseg
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -eu
# A port that no other job on these machines has.
port=$((20000 + SLURM_JOB_ID % 10000))
addresses=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/\$/:$port/" | paste -s -d ,)
export addresses
# When one worker fails, all end.
srun --kill-on-bad-exit=1 bash -c 'bash worker.sh "$SLURM_PROCID" "$addresses" \
    rnnseg train --recipe voc_paper --data data/voc --out runs/voc --resume'
