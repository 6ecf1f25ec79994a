#!/bin/bash
# The patch-count study on a Slurm cluster: this small job drives the sweep, each cell is a job of its own.
#
#   sbatch sweeps/slurm_patchcount.sh                                        # 108 cells at paper size, a GPU each
#   sbatch sweeps/slurm_patchcount.sh hydra.launcher.partition=gpu           # what follows is added to the command
#
# Submit it from the folder that is to hold runs/, with the environment of slackoff active (or name its Python:
# PYTHON=/path/to/python). Without a job for the driver: the command below in tmux on a login node does the same.
# scancel --batch --signal=TERM JOB stops the sweep in order; scancel JOB alone gives it 30 seconds for that.
#
#SBATCH --job-name=slackoff-driver
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=1-00:00:00
#SBATCH --output=slackoff-driver-%j.txt
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120

setsid "${PYTHON:-python}" -m slackoff +experiment=patchcount -m size=paper hydra/launcher=slurm "$@" &
driver=$!  # in a session of its own: Slurm's signals come to it through this script, each once

# At this job's own time limit the driver goes and the cells stay: in its next turn it finds them again.
trap 'kill -KILL $driver; scontrol requeue "$SLURM_JOB_ID"' USR1
trap 'kill -TERM $driver' TERM

until wait $driver; code=$?; ! kill -0 $driver 2> /dev/null; do :; done
exit $code
