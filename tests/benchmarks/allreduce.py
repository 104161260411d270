"""Time and traffic of averaging gradients: `allreduce.py PARAMETERS` under horovodrun; rank 0 prints them as JSON."""

from __future__ import annotations

import json
import sys
import time

import psutil
import tensorflow as tf

from engine.training.workers import join

TIMES = 20


def main(parameters: int) -> None:
    workers, gradients = join(), tf.ones(parameters)
    average = tf.function(lambda gradients: workers.allreduce_mean([gradients]))
    average(gradients)
    before, began = psutil.net_io_counters(pernic=True)["lo"].bytes_sent, time.perf_counter()
    for _ in range(TIMES):
        average(gradients)[0].numpy()
    seconds = (time.perf_counter() - began) / TIMES
    sent = (psutil.net_io_counters(pernic=True)["lo"].bytes_sent - before) / TIMES / workers.size
    if workers.chief:
        sys.stdout.write("\n" + json.dumps({"ms": round(1000 * seconds, 1), "bytes_sent_per_rank": round(sent)}) + "\n")


main(int(sys.argv[1]))
