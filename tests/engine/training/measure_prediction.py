"""Memory that a network takes to predict one field: `measure_prediction.py BACKBONE N_FILTERS N_BLOCKS SIDE_LR`.

It prints the bytes of the peak above what a process holds that has predicted a small field.
"""

from __future__ import annotations

import sys

import tensorflow as tf

from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.spec import ModelOptions
from tests.engine.memory_measurement import resident

SCALE = 4


def main(backbone: str, n_filters: int, n_blocks: int, side: int) -> None:
    options = ModelOptions(backbone=backbone, n_filters=n_filters, n_blocks=n_blocks, upsampling="pin", localized=False)
    output = Output("bicubic", residual_std=1.0, zero=0.0, bound="linear")
    network = build(options, Shape(side, side, 1, 0, SCALE), output)

    @tf.function(reduce_retracing=True)
    def predict(inputs: tf.Tensor, static: tf.Tensor, sides: tuple[int, int]) -> tf.Tensor:
        return network([inputs, static], training=False)

    def run(cells: int) -> None:
        at_hr = SCALE * cells
        predict(tf.zeros((1, cells, cells, 1)), tf.zeros((1, at_hr, at_hr, 0)), (at_hr, at_hr))

    run(8)
    before = resident("VmRSS")
    run(side)
    sys.stdout.write(f"\n{resident('VmHWM') - before}")


main(sys.argv[1], *map(int, sys.argv[2:]))
