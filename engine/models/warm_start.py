"""Start of one network from the weights of another: on another region or a finer grid, say."""

from __future__ import annotations

from engine.errors import SpecError
from engine.models.architecture import count_parameters
from engine.models.shapes import Shape
from engine.spec import ModelOptions

ARRANGING = ("backbone", "upsampling", "normalization")  # they matter even where the number of weights is the same


def incompatibilities(options: ModelOptions, shape: Shape, start: ModelOptions, start_shape: Shape) -> list[str]:
    """Reasons why a network can't start from the weights of `start`; none where it can.

    Convolutions don't depend on the sides of a field, so that any grid will do. A localized block is bound to its grid;
    where only one of both networks has one, it begins at zero or is left behind.
    """
    found = [
        f"model.{name} is {getattr(options, name)}, there {getattr(start, name)}"
        for name in ModelOptions.declared()
        if getattr(options, name) != getattr(start, name) and _changes_weights(name, options, start, start_shape)
    ]
    if shape.scale != start_shape.scale:
        found.append(f"data.scale is {shape.scale}, there {start_shape.scale}")
    if shape.channels != start_shape.channels:
        found.append(
            f"the inputs have {shape.channels} channels, there {start_shape.channels} (data.predictors, "
            "data.time_window and data.time_features make them)"
        )
    if shape.outputs != start_shape.outputs:
        found.append("one of both has training.loss bernoulli_gamma, and so three outputs in place of one")
    if shape.static != start_shape.static:
        found.append(f"data.static has {shape.static} variables, there {start_shape.static}")
    if options.localized and start.localized and shape.hr != start_shape.hr:
        found.append(
            f"HR has {_cells(shape)} cells, there {_cells(start_shape)}, and the localized block has weights of its "
            "own for each cell (set model.localized=false, or use the same grid)"
        )
    return found


def _changes_weights(name: str, options: ModelOptions, start: ModelOptions, shape: Shape) -> bool:
    """True if the weights of `start` would be others with this one option changed."""
    if name == "localized" or name in ARRANGING:
        return name != "localized"
    try:
        changed = start.replace(**{name: getattr(options, name)})
    except SpecError:  # only along with another, which matters
        return False
    return count_parameters(changed, shape) != count_parameters(start, shape)


def _cells(shape: Shape) -> str:
    return " × ".join(map(str, shape.hr))
