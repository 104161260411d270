"""Network, training step and training of a spec, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import tensorflow as tf

from engine.data.normalizer import Normalizer
from engine.data.pairs import Pairs
from engine.data.samples import Samples, Shuffle
from engine.models.compatibility import check_field
from engine.models.discriminator import build_discriminator
from engine.models.flow_matching import FlowSampler
from engine.models.network import Output, build
from engine.models.normalizing_flow import NormalizingSampler
from engine.models.receptive_field import with_wrap
from engine.models.residual_draws import ResidualSampler, build_with_draws
from engine.models.shapes import Shape, outputs_of
from engine.spec import FLOW_MATCHING, NORMALIZING_FLOW, Spec
from engine.training.adversarial import AdversarialStep
from engine.training.checkpoints import TrainingCheckpoints
from engine.training.feed import Feed
from engine.training.flows import FlowMatchingStep, LikelihoodStep
from engine.training.loop import StopRequest, Training
from engine.training.memory_budget import training_bytes
from engine.training.precision import choose_precision
from engine.training.progress import ProgressRecord
from engine.training.random_scales import RandomScaleStep
from engine.training.station_draw import StationDraw
from engine.training.supervised import Step
from engine.training.validation import Validation
from engine.training.workers import Workers

SAMPLERS: dict[str, Callable[..., ResidualSampler]] = {FLOW_MATCHING: FlowSampler, NORMALIZING_FLOW: NormalizingSampler}
STEPS = {FLOW_MATCHING: FlowMatchingStep, NORMALIZING_FLOW: LikelihoodStep}


def make_reproducible(spec: Spec) -> None:
    """Set seeds and number formats: the same operations in the same order give the same weights."""
    keras.backend.clear_session()  # layers have the same names whenever they are made
    keras.utils.set_random_seed(spec.training.seed)
    tf.config.experimental.enable_op_determinism()
    precision = spec.training.precision
    keras.config.set_dtype_policy(choose_precision().policy if precision == "auto" else precision)


def with_precision(spec: Spec, workers: Workers) -> tuple[Spec, str]:
    """Put the number format that suits rank 0's processor in place of auto; returns a note on it, or an empty one."""
    if spec.training.precision != "auto":
        return spec, ""
    chosen = choose_precision()
    (halved,) = workers.broadcast_integers([int(chosen.policy != "float32")])
    policy = "mixed_bfloat16" if halved else "float32"
    return spec.replace(training={"precision": policy}), f"precision {policy}: {chosen.reason}"


def shape_of(spec: Spec, pairs: Pairs, normalizer: Normalizer) -> Shape:
    """Shape of the network's inputs and outputs, from the training part."""
    shape = Shape.of(Samples.of(spec, pairs, normalizer, pairs.parts.train), outputs_of(spec.training.loss))
    shape = replace(shape, scale=spec.data.scale)  # LR as given has itself for HR
    return with_wrap(shape, spec.model, pairs.periodic)


def build_network(spec: Spec, pairs: Pairs, normalizer: Normalizer) -> keras.Model:
    """Build the network with new weights; raises SpecError if its constraint doesn't suit the field."""
    check_field(spec, pairs, normalizer.hr_min)
    output = Output.of(spec.model, normalizer, pairs.interpolation)
    shape, learning = shape_of(spec, pairs, normalizer), spec.training.learning
    if sampler := SAMPLERS.get(learning):
        return build_with_draws(spec.model, shape, output, learning, sampler)
    return build(spec.model, shape, output)


def build_step(
    spec: Spec, workers: Workers, network: keras.Model, pairs: Pairs, normalizer: Normalizer, steps_per_epoch: int
) -> Step:
    """Build the step that `training.learning` names, with a new optimizer."""
    steps = steps_per_epoch * spec.training.epochs
    if spec.training.learning != "adversarial":
        if spec.model.scales:
            scales = spec.model.scales, spec.data.scale
            return RandomScaleStep(network, spec.training, steps, workers, normalizer, *scales)
        return STEPS.get(spec.training.learning, Step)(network, spec.training, steps, workers, normalizer)
    output = Output.of(spec.model, normalizer, pairs.interpolation)
    discriminator = build_discriminator(shape_of(spec, pairs, normalizer), output)
    return AdversarialStep(network, discriminator, spec.training, steps, workers, normalizer)


def build_training(
    spec: Spec,
    workers: Workers,
    network: keras.Model,
    pairs: Pairs,
    normalizer: Normalizer,
    folder: Path,
    report: Callable[[ProgressRecord], None],
    stop: StopRequest,
    number: int = 0,
) -> Training:
    """Build a training at its beginning; its checkpoints go into `folder`."""
    reserved = training_bytes(spec, shape_of(spec, pairs, normalizer))
    train, validation = (
        Feed.of(Samples.of(spec, pairs, normalizer, part), workers.local_size, reserved)
        for part in (pairs.parts.train, pairs.parts.validation)
    )
    shuffle = Shuffle.of(spec, len(train.samples), pairs.lr_grid.shape, workers.rank, workers.size, pairs.periodic)
    step = build_step(spec, workers, network, pairs, normalizer, shuffle.steps)
    if normalizer.stations:
        step.station_draw = StationDraw(train.samples, spec.training.seed, workers)
    return Training(
        step=step,
        train=train,
        validation=Validation(step, validation, shuffle, workers),
        shuffle=shuffle,
        options=spec.training,
        workers=workers,
        checkpoints=TrainingCheckpoints(folder, number),
        report=report,
        stop=stop,
    )
