"""Sections of a spec for the network, its training and where it runs: options, with the checks inside a section."""

from __future__ import annotations

import math
from collections.abc import Callable

from engine.errors import SpecError
from engine.options import Choice, Flag, Options, Real, Text, Value, Whole
from engine.spec.values import ScaleRange

RECURRENT = ("resnet", "convnet", "densenet", "swin", "fno", "graph")  # backbones that have a recurrent form
_NONE = "its blocks have no convolutions"  # why separable convolutions don't change a backbone
INSEPARABLE = {"convnext": "its convolutions are depthwise already", "swin": _NONE, "graph": _NONE}
NAME = r"^$|^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"  # allowed in a scheduler's header
# Factor of the learning rate for n processes. linear: Goyal et al. (2017), arXiv 1706.02677, section 2.1, for momentum.
# sqrt: the learning rate's part of the rule of Malladi et al. (2022), NeurIPS 35, arXiv 2205.10287, for Adam.
LEARNING_RATE_FACTORS: dict[str, Callable[[int], float]] = {"none": lambda n: 1.0, "linear": float, "sqrt": math.sqrt}
POINTWISE_LOSSES = ("mae", "mse", "huber", "quantile", "bernoulli_gamma")  # that need no neighbours
# Constraints by what they do to values below zero: give some, or need a field without.
NEGATIVE_CONSTRAINTS, NONNEGATIVE_CONSTRAINTS = ("additive",), ("multiplicative", "softmax")
SEEDS = 2**31


class ModelOptions(Options):
    """The network."""

    SECTION = "model"

    backbone = Choice(
        ["resnet", "convnet", "densenet", "convnext", "unet", "swin", "fno", "graph"],
        default="resnet",
        doc="Main part of the network: the type of its blocks. swin: attention in shifted windows of 8 × 8 cells. "
        "fno: a Fourier filter of the whole field beside convolutions. graph: messages from cells around.",
    )
    upsampling = Choice(
        ["spc", "rc", "dc", "pin", "implicit"],
        default="spc",
        doc="Step from the LR to the HR grid: sub-pixel (spc), resize (rc) or transposed convolution (dc) after the "
        "backbone, interpolation before it (pin), or a function of the features around any point (implicit).",
    )
    scales = Value(
        ScaleRange,
        None,
        doc="Smallest and largest scale of training, for any scale or grid afterwards; with upsampling implicit. "
        "Each step takes a scale between them, with LR of data.scale, or coarser where HR isn't fine enough. Empty: "
        "data.scale alone.",
    )
    temporal = Choice(
        ["recurrent", "stacked"],
        default="recurrent",
        doc="Use of the steps of data.time_window: one after another, by a convolutional LSTM (recurrent), or side by "
        "side as channels (stacked). No effect where the window is one step.",
    )
    n_filters = Whole(32, bounds=(1, 1024), unit="channels", doc="Filters of each convolution.")
    n_blocks = Whole(4, bounds=(1, 100), unit="blocks", doc="Blocks of the backbone; levels of a U-Net.")
    activation = Choice(
        ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh"],
        default="relu",
        doc="Activation function between convolutions.",
    )
    output_activation = Choice(
        ["auto", "linear", "relu", "softplus"],
        default="auto",
        doc="Lower bound of the downscaled field. linear: none. relu, softplus: zero, in the target's unit. "
        "auto: relu for quantities that are never negative, by CF standard name or training values; else linear.",
    )
    normalization = Choice(["none", "batch", "layer"], default="none", doc="Normalisation layers inside the blocks.")
    separable = Flag(False, doc="Depthwise-separable convolutions in the blocks of the backbone.")
    dropout_rate = Real(0.0, bounds=(0.0, 0.9), doc="Fraction of activations dropped in training.")
    dropout_variant = Choice(
        ["vanilla", "gaussian", "spatial", "mc_vanilla", "mc_gaussian", "mc_spatial"],
        default="vanilla",
        doc="Type of dropout. mc: Monte Carlo dropout, which stays active in prediction; the downscaled field is then "
        "the mean of several members, and their spread is in the results. Validation during training has no dropout.",
    )
    noise = Whole(
        0,
        bounds=(0, 64),
        unit="channels",
        doc="Channels of random noise beside the inputs, which make each prediction another one; with training.loss "
        "crps. The downscaled field is then the mean of several members. 0: none.",
    )
    members = Whole(
        8, bounds=(1, 256), unit="members", doc="Predictions drawn with noise, Monte Carlo dropout or a flow."
    )
    sampling_steps = Whole(
        6,
        bounds=(1, 64),
        doc="Steps from noise to a member. With training.learning flow-matching: of Heun's method, each of two "
        "evaluations. With normalizing-flow: couplings at each of two resolutions.",
    )
    attention = Flag(False, doc="Channel attention in each block (squeeze and excitation).")
    localized = Flag(True, doc="Localized convolutional block (LCB): separate weights for each HR cell.")
    residual = Flag(True, doc="Learn the difference from the interpolated field.")
    constraint = Choice(
        ["none", "additive", "multiplicative", "softmax"],
        default="none",
        doc="Makes the area mean of the downscaled field over each LR cell equal to the LR value. additive: for any "
        "field; multiplicative, softmax: for fields that are never negative. With mos, LR is the other model's value, "
        "and the downscaled field keeps that model's bias.",
    )

    def check(self) -> None:
        if self.backbone == "unet" and self.upsampling != "pin":
            raise SpecError(
                f"model.backbone is unet, but model.upsampling is {self.upsampling}",
                option="model.backbone",
                hint="a U-Net works at HR, after interpolation",
                action="set model.upsampling=pin, or model.backbone=resnet",
            )
        if self.separable and (why := INSEPARABLE.get(self.backbone)):
            raise SpecError(
                f"model.separable is true, but model.backbone is {self.backbone}",
                option="model.separable",
                hint=why,
                action="set model.separable=false, or model.backbone=resnet",
            )
        if self.dropout_variant.startswith("mc_") and not self.dropout_rate:
            raise SpecError(
                f"model.dropout_variant is {self.dropout_variant}, but model.dropout_rate is 0",
                option="model.dropout_variant",
                hint="without dropout all members are the same",
                action="set model.dropout_rate=0.1, or model.dropout_variant=vanilla",
            )

    @property
    def is_stochastic(self) -> bool:
        """True if the predictions of one network are drawn, by noise or Monte Carlo dropout."""
        return bool(self.noise) or self.dropout_variant.startswith("mc_")


class TrainingOptions(Options):
    """The training of the network."""

    SECTION = "training"

    learning = Choice(
        ["supervised", "adversarial", "flow-matching", "normalizing-flow"],
        default="supervised",
        doc="supervised: the loss compares with HR. adversarial: in addition, a discriminator learns to distinguish "
        "downscaled fields from HR, and the network learns to deceive it. flow-matching: after supervised training, or "
        "from the run of start_from, a second network learns to draw what is left of HR; the downscaled field is then "
        "the mean of several members. normalizing-flow: the same, by a flow with an exact likelihood of HR.",
    )
    adversarial_weight = Real(
        0.01, bounds=(0.0, 1000.0), doc="Weight of the adversarial loss relative to the loss that compares with HR."
    )
    loss = Choice(
        [
            "mae",
            "mse",
            "huber",
            "dssim",
            "ms_dssim",
            "dssim_mae",
            "dssim_mse",
            "dssim_mae_mse",
            "ms_dssim_mae",
            "ms_dssim_mae_mse",
            "spectral",
            "quantile",
            "bernoulli_gamma",
            "crps",
        ],
        default="mae",
        doc="Quantity that training minimises, over all cells with a value. dssim: structural dissimilarity, at "
        "several scales with ms_; mixtures have DL4DS's weights. spectral: MAE plus the distance of log power "
        "spectra, against fields that are too smooth. quantile: the field is a quantile of HR, see training.quantile. "
        "bernoulli_gamma: likelihood of precipitation, its occurrence and amount; the field is its mean. "
        "crps: continuous ranked probability score of members and of their spectra, for networks with model.noise or "
        "Monte Carlo dropout.",
    )
    quantile = Real(
        0.9,
        bounds=(0.01, 0.99),
        doc="Quantile of HR that the downscaled field estimates with loss quantile; other losses don't use it.",
    )
    members = Whole(
        2, bounds=(2, 16), unit="members", doc="Predictions of each sample in a step with loss crps; others take one."
    )
    epochs = Whole(
        100, bounds=(1, 100_000), unit="epochs", doc="Maximum number of epochs; each ends with a validation."
    )
    steps_per_epoch = Whole(
        0, bounds=(0, 1_000_000), unit="steps", doc="Steps of an epoch. 0: one pass over the training part."
    )
    batch_size = Whole(16, bounds=(1, 4096), unit="samples per process", doc="Samples in one step of one process.")
    learning_rate = Real(
        2e-3,
        bounds=(0, 1),
        inclusive_bounds=(False, True),
        doc="Highest learning rate of one process; for several, see learning_rate_scaling.",
    )
    learning_rate_scaling = Choice(
        list(LEARNING_RATE_FACTORS),
        default="none",
        doc="Change of the learning rates with n processes, whose batches together are n times as large. none: no "
        "change. linear: n times as high (Goyal et al. 2017); give warm_up 0.05 or more. sqrt: √n times as high "
        "(Malladi et al. 2022).",
    )
    discriminator_learning_rate = Real(
        1e-4,
        bounds=(0, 1),
        inclusive_bounds=(False, True),
        doc="Highest learning rate of the discriminator, with the same schedule as the network's.",
    )
    label_smoothing = Real(0.1, bounds=(0.0, 0.5), doc="Amount by which the discriminator's label of HR is below one.")
    schedule = Choice(
        ["constant", "piecewise", "cosine"],
        default="cosine",
        doc="Change of the learning rate during training. piecewise: one drop, see decay_at. cosine: down to 1 %.",
    )
    decay_at = Real(0.5, bounds=(0.0, 1.0), doc="Fraction of all steps after which a piecewise learning rate drops.")
    decay_factor = Real(
        0.1, bounds=(0, 1), inclusive_bounds=(False, True), doc="Factor of a piecewise learning rate after its drop."
    )
    warm_up = Real(0.02, bounds=(0.0, 0.5), doc="Fraction of all steps during which the learning rate rises from zero.")
    weight_decay = Real(0.0, bounds=(0.0, 1.0), doc="Decoupled weight decay (AdamW).")
    early_stopping = Flag(True, doc="Stop when the validation loss no longer decreases.")
    patience = Whole(25, bounds=(1, 10_000), unit="epochs", doc="Epochs without improvement before stopping.")
    min_delta = Real(
        0.0, bounds=(0.0, None), doc="Smallest decrease of the validation loss that counts as improvement."
    )
    ema = Real(
        0.0,
        bounds=(0.0, 0.9999),
        doc="Decay of the exponential moving average of the weights, used in validation and prediction. 0: none.",
    )
    seed = Whole(0, bounds=(0, SEEDS - 1), doc="Seed of initial weights, shuffling, patches and dropout.")
    ensemble = Whole(
        1,
        bounds=(1, 64),
        unit="networks",
        doc="Networks trained one after another, with the seeds seed, seed + 1, …. The downscaled field is their mean, "
        "and their spread is in the results.",
    )
    precision = Choice(
        ["float32", "mixed_bfloat16", "auto"],
        default="float32",
        doc="Number format of the layers; weights, loss and the field itself stay float32. auto: mixed_bfloat16 on "
        "processors with AMX and on GPUs with tensor cores for it, else float32; the log says which.",
    )
    start_from = Text(
        "",
        doc="Run whose best weights training starts from (fine-tuning), on the same data or others; the normalisation "
        "is fitted again. With a flow, its network stays as it is. Empty: random weights.",
    )


class LaunchOptions(Options):
    """The site and the resources of training."""

    SECTION = "launch"

    title = Text("", doc="Short title shown in lists and legends.")
    site = Text(
        "local",
        regex=r"^[A-Za-z0-9._-]{1,64}$",
        doc="Where the run is executed: local (this machine), or the name of a site in the targets file.",
    )
    processes = Whole(1, bounds=(1, 4096), unit="processes", doc="Horovod processes (ranks).")
    time_limit = Whole(
        0, bounds=(0, 100_000), unit="minutes", doc="Stop with a checkpoint after this time. 0: no limit."
    )
    nodes = Whole(1, bounds=(1, 1024), unit="nodes", doc="Cluster nodes; each gets the same number of processes.")
    threads = Whole(0, bounds=(0, 256), unit="cores", doc="CPU cores per process on a cluster. 0: the site's default.")
    gpus = Whole(0, bounds=(0, 16), unit="GPUs", doc="GPUs per process on a cluster.")
    partition = Text("", regex=NAME, doc="Partition (queue) of a cluster. Empty: the site's default.")
    account = Text("", regex=NAME, doc="Account that a cluster charges. Empty: the site's default.")
    upload = Flag(False, doc="Send the input files to the site, once. Off: the site has them at the same paths.")
    restarts = Whole(
        0,
        bounds=(0, 100),
        unit="restarts",
        doc="Automatic restarts from the last checkpoint after a process ended without an error message.",
    )
    min_processes = Whole(
        0,
        bounds=(0, 4096),
        unit="processes",
        doc="Processes with which training may continue when others are lost. 0: it needs all of them.",
    )

    @property
    def is_elastic(self) -> bool:
        """True if training continues with the remaining processes when others are lost."""
        return 0 < self.min_processes < self.processes

    def check(self) -> None:
        if self.min_processes > self.processes:
            raise SpecError(
                f"launch.min_processes is {self.min_processes}, but launch.processes is {self.processes}",
                option="launch.min_processes",
                hint="expected at most as many, or 0 if training needs all of them",
            )
        if self.processes % self.nodes:
            raise SpecError(
                f"launch.processes is {self.processes}, which {self.nodes} nodes can't share evenly",
                option="launch.processes",
                action="give a multiple of launch.nodes",
            )
