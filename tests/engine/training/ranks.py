"""What one rank sees and computes: `ranks.py SPEC FOLDER…`, alone or under horovodrun, writes FOLDER/rank-N.npz.

Pairs of a spec and a folder are taken one after another, so that TensorFlow and Horovod start once for all of them.
`hr` and `inputs` hold the batches of two epochs, `gradient` and `loss` those of the first step.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from engine.data.normalizer import fit_normalizer
from engine.data.pairs import pair
from engine.data.samples import Samples, Shuffle
from engine.models.network import Output, build
from engine.models.shapes import Shape
from engine.spec import Spec
from engine.training import assembly
from engine.training.feed import Feed
from engine.training.workers import join

EPOCHS = 2


def main(spec: Spec, folder: Path) -> None:
    workers = join()
    keras.utils.set_random_seed(spec.training.seed)
    pairs = pair(spec.data)
    normalizer = fit_normalizer(pairs, spec.data.scaling)
    samples = Samples.of(spec, pairs, normalizer, pairs.parts.train)
    network = build(spec.model, Shape.of(samples), Output.of(spec.model, normalizer, pairs.interpolation))
    shuffle = Shuffle.of(spec, len(samples), pairs.lr_grid.shape, workers.rank, workers.size)
    step = assembly.build_step(spec, workers, network, pairs, normalizer, shuffle.steps)
    plans = [shuffle.epoch(epoch) for epoch in range(EPOCHS)]
    batches = list(Feed.of(samples).stream(lambda: plans, shuffle.patch_lr))
    loss, gradients = tf.function(step.gradients)(batches[0])
    np.savez(
        folder / f"rank-{workers.rank}.npz",
        inputs=np.stack([batch[0] for batch in batches]),
        hr=np.stack([batch[2] for batch in batches]),
        loss=loss,
        gradient=np.concatenate([np.ravel(gradient) for gradient in gradients]),
    )


for spec, folder in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    main(Spec.read(Path(spec)), Path(folder))
    keras.utils.clear_session()
