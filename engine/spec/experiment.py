"""The spec of an experiment: four sections, checked against each other, read from YAML and written to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from engine.errors import SpecError
from engine.options import Options, did_you_mean
from engine.spec.checks import CHECKS
from engine.spec.data_section import DataOptions
from engine.spec.sections import SEEDS, LaunchOptions, ModelOptions, TrainingOptions
from engine.spec.yaml import dump_yaml, flow_yaml, load_yaml, with_settings

VERSION = 1
FLOW_MATCHING, NORMALIZING_FLOW = "flow-matching", "normalizing-flow"  # of `training.learning`
SECTIONS: dict[str, type[Options]] = {
    kind.SECTION: kind for kind in (DataOptions, ModelOptions, TrainingOptions, LaunchOptions)
}
# Old name → new name. Refused in what a user gives; read in the spec.yaml of run folders, which is written once.
RENAMED = {"launch.target": "launch.site", "training.lr_scaling": "training.learning_rate_scaling"}


@dataclass(frozen=True)
class Spec:
    """An experiment: four sealed sections, checked against each other when made.

    Raises
    ------
    SpecError
        From any way to make one, for an option that is unknown, of the wrong type, out of bounds or in conflict.
    """

    data: DataOptions
    model: ModelOptions = field(default_factory=ModelOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    launch: LaunchOptions = field(default_factory=LaunchOptions)

    def __post_init__(self) -> None:
        for check in CHECKS:
            check(self)

    @property
    def is_recurrent(self) -> bool:
        """True if the network reads the steps of a time window one after another."""
        return self.data.time_window > 1 and self.model.temporal == "recurrent"

    @classmethod
    def from_plain(cls, plain: Any, folder: Path | None = None) -> Self:
        """From a mapping as in the YAML file; relative paths start at `folder`, if given."""
        if not isinstance(plain, Mapping):
            raise SpecError(
                "the spec is empty" if plain is None else f"the spec is {type(plain).__name__}",
                hint="expected a mapping with version, data, model, training, launch",
            )
        for word in plain:
            if word != "version" and word not in SECTIONS:
                raise SpecError(f"{word} is not a section", hint=did_you_mean(str(word), ["version", *SECTIONS]))
        if (version := plain.get("version")) != VERSION or isinstance(version, bool):
            raise SpecError(f"version is {version!r}", hint=f"expected version: {VERSION}")
        spec = cls(**{section: kind(**_options_of(plain, section)) for section, kind in SECTIONS.items()})
        return spec.within(folder) if folder else spec

    @classmethod
    def from_yaml(cls, text: str, folder: Path | None = None, settings: Iterable[str] = ()) -> Self:
        """From the text of a YAML file, with `section.option=value` applied; paths start at `folder`, if given."""
        return cls.from_plain(with_settings(load_yaml(text, "the spec"), settings), folder)

    @classmethod
    def read(cls, path: Path, settings: Iterable[str] = ()) -> Self:
        """From a YAML file, with `section.option=value` applied; paths start at its folder."""
        return cls.from_plain(with_settings(_load(path), settings), Path(path).absolute().parent)

    @classmethod
    def read_recorded(cls, path: Path) -> Self:
        """From the spec.yaml of a run folder, which may have the old names of renamed options."""
        return cls.from_plain(_rename_options(_load(path)), Path(path).absolute().parent)

    def within(self, folder: Path) -> Self:
        """The same spec with absolute paths."""
        data = self.data
        return dataclasses.replace(
            self,
            data=data.replace(
                target=data.target.within(folder),
                target_v=data.target_v and data.target_v.within(folder),
                lr=data.lr and data.lr.within(folder),
                lr_v=data.lr_v and data.lr_v.within(folder),
                predictors=tuple(source.within(folder) for source in data.predictors),
                static=tuple(source.within(folder) for source in data.static),
                stations=data.stations and data.stations.within(folder),
            ),
        )

    def replace(self, **sections: Mapping[str, Any]) -> Self:
        """A checked copy with other options: spec.replace(training={"epochs": 3})."""
        return dataclasses.replace(self, **{name: getattr(self, name).replace(**v) for name, v in sections.items()})

    @property
    def draws_residuals(self) -> bool:
        """True if members are drawn around the field of a network that is trained before, by a flow of either kind."""
        return self.training.learning in (FLOW_MATCHING, NORMALIZING_FLOW)

    @property
    def has_vectors(self) -> bool:
        """True if the inputs say where the cells lie, for message passing."""
        return self.model.backbone == "graph"

    @property
    def draws(self) -> int:
        """Members that each network draws; 0 if its prediction is always the same."""
        return self.model.members if self.draws_residuals or self.model.is_stochastic else 0

    @property
    def members(self) -> int:
        """Predictions of which the downscaled field is the mean: of each network those it draws; 0 for a single one."""
        networks = self.training.ensemble
        return networks * max(1, self.draws) if networks > 1 else self.draws

    @property
    def trainings(self) -> tuple[int, ...]:
        """Numbers of the networks in the order of their training, those of the ensemble from 0.

        With a flow, the network of the mean is trained before each of them: its number is larger by `ensemble`.
        """
        many = self.training.ensemble
        if not self.draws_residuals or self.training.start_from:
            return tuple(range(many))
        return tuple(number for network in range(many) for number in (many + network, network))

    def of_network(self, number: int) -> Self:
        """The same spec with the seed of one network of `trainings`; supervised for the mean of a flow."""
        member, is_mean = number % self.training.ensemble, number >= self.training.ensemble
        learning = "supervised" if is_mean else self.training.learning
        return self.replace(training={"seed": (self.training.seed + member) % SEEDS, "learning": learning})

    def plain(self) -> dict[str, object]:
        """Every option, as plain YAML types."""
        return {"version": VERSION, **{section: getattr(self, section).plain() for section in SECTIONS}}

    def changed(self) -> dict[str, object]:
        """Options that differ from their defaults, as a user would write them."""
        sections = {section: getattr(self, section).changed() for section in SECTIONS}
        return {"version": VERSION, **{section: options for section, options in sections.items() if options}}

    def to_yaml(self) -> str:
        return dump_yaml(self.plain())

    def settings(self) -> list[str]:
        """Every option as `section.option=value`, for `--set`."""
        return [
            f"{section}.{option}={flow_yaml(value)}"
            for section in SECTIONS
            for option, value in getattr(self, section).plain().items()
        ]


def _load(path: Path) -> Any:
    """A YAML file as plain types."""
    give = "give the path of a spec, a YAML file"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path} does not exist", action=give) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} can't be read ({error})", action=give) from None
    return load_yaml(text, str(path))


def _rename_options(plain: Any) -> Any:
    """Put renamed options of a loaded spec under their new names."""
    for old, new in RENAMED.items():
        (section, old_name), new_name = old.split("."), new.split(".")[1]
        options = plain.get(section) if isinstance(plain, dict) else None
        if isinstance(options, dict) and old_name in options:
            options[new_name] = options.pop(old_name)
    return plain


def _options_of(plain: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    """The options given in a section; raises SpecError for old names and for names that aren't text."""
    options = plain.get(section)
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise SpecError(f"{section} is {options!r}", hint="expected a mapping of options")
    for name in options:
        if new := RENAMED.get(f"{section}.{name}"):
            raise SpecError(f"{section}.{name} has a new name", option=new, action=f"write {new} instead")
        if not isinstance(name, str):
            raise SpecError(
                f"{section}.{name} is not an option", hint=did_you_mean(str(name), SECTIONS[section].declared())
            )
    return options
