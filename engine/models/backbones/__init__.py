"""Backbones by name: each declared in a file of its own, as layers, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable

from engine.models.backbones.convnet import convnet
from engine.models.backbones.convnext import convnext
from engine.models.backbones.densenet import densenet
from engine.models.backbones.fno import fno
from engine.models.backbones.graph import graph
from engine.models.backbones.resnet import resnet
from engine.models.backbones.swin import swin
from engine.models.backbones.unet import unet
from engine.models.layers import Backbone
from engine.spec import ModelOptions

BACKBONES: dict[str, Callable[[ModelOptions], Backbone]] = {
    "resnet": resnet,
    "convnet": convnet,
    "densenet": densenet,
    "convnext": convnext,
    "unet": unet,
    "swin": swin,
    "fno": fno,
    "graph": graph,
}
