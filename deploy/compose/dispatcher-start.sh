#!/bin/sh
# A Ray driver needs a raylet beside it: this container joins the cluster, refuses hosts, then dispatches.
set -eu

ray start --address=ray-head:6379 --num-cpus=0 --labels=colony-hosts=refused \
    --object-store-memory=100000000 --disable-usage-stats
exec python -m control.processes.dispatcher
