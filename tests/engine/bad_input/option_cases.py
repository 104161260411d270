"""Specs, options and settings that can't be used."""

from __future__ import annotations

from tests.engine.bad_input.wrong_requests import Request, case


@case("{here}/spec.yaml does not exist: give the path of a spec, a YAML file")
def spec_missing(request: Request) -> None:
    request.text = ""


@case(
    "{here}/spec.yaml is not YAML (line 3: expected ',' or '}}', but got '<stream end>'): "
    "expected lines such as 'training: {{epochs: 30}}'"
)
def yaml_broken(request: Request) -> None:
    request.text = "version: 1\ndata: {target: {path: hr.nc}\n"


@case(
    "{here}/spec.yaml is not YAML (line 5 gives epochs a second time): expected lines such as "
    "'training: {{epochs: 30}}'"
)
def yaml_key_twice(request: Request) -> None:
    request.text = "version: 1\ndata: {target: {path: hr.nc}, scale: 4}\ntraining:\n  epochs: 3\n  epochs: 30\n"


@case("the spec is list: expected a mapping with version, data, model, training, launch")
def spec_is_a_list(request: Request) -> None:
    request.text = "- version: 1\n"


@case("version is 2: expected version: 1")
def version_unknown(request: Request) -> None:
    request.sections["version"] = 2


@case("trainig is not a section: did you mean 'training'?")
def unknown_section(request: Request) -> None:
    request.sections["trainig"] = {"epochs": 3}


@case("training.epoch is not an option: did you mean 'epochs'?")
def unknown_key(request: Request) -> None:
    request.sections["training"] = {"epoch": 3}


@case("training.epochs is True: expected a whole number from 1 to 100000 (epochs)")
def boolean_for_a_number(request: Request) -> None:
    request.sections["training"] = {"epochs": True}


@case("training.learning_rate is 'fast': expected a number above 0, at most 1")
def text_for_a_number(request: Request) -> None:
    request.sections["training"] = {"learning_rate": "fast"}


@case("model is 3: expected a mapping of options")
def number_for_a_section(request: Request) -> None:
    request.sections["model"] = 3


@case(
    "model.backbone is 'resnett': expected one of resnet, convnet, densenet, convnext, unet, swin, fno, graph; did "
    "you mean 'resnet'?"
)
def word_not_in_the_list(request: Request) -> None:
    request.sections["model"] = {"backbone": "resnett"}


@case("data.scale is 1: expected a whole number from 2 to 64 (HR cells per LR cell)")
def scale_of_one(request: Request) -> None:
    request.data["scale"] = 1


@case("data.scale is missing: give the HR cells per LR cell, a whole number from 2 to 64")
def scale_not_given(request: Request) -> None:
    del request.data["scale"]


@case(
    "data.target is missing: expected a mapping {{path: file, glob, list of files, Zarr store or URL, variable: name}}"
)
def target_not_given(request: Request) -> None:
    del request.data["target"]


@case("data.lr is missing: pairing mos needs the LR field; give data.lr, or choose perfect-prog")
def mos_without_lr(request: Request) -> None:
    request.data["pairing"] = "mos"


@case("--set epochs=3: expected section.option=value, as in training.epochs=30")
def setting_without_a_section(request: Request) -> None:
    request.set = ["epochs=3"]


@case("--set training.epochs: expected section.option=value, as in training.epochs=30")
def setting_without_a_value(request: Request) -> None:
    request.set = ["training.epochs"]


@case("training.epochs is 0: expected a whole number from 1 to 100000 (epochs)")
def setting_beyond_the_bounds(request: Request) -> None:
    request.set = ["training.epochs=0"]


@case("data.time_window is 2: expected an odd number, centred on the time step")
def even_time_window(request: Request) -> None:
    request.data["time_window"] = 2


@case("data.patch_size is 10: expected a multiple of scale 4, at least 8, or 0 for whole fields")
def patch_size_no_multiple_of_the_scale(request: Request) -> None:
    request.data["patch_size"] = 10
    request.sections["model"] = {"localized": False}


@case("data.patch_size is 32, but HR has 16 × 16 cells: expected at most 16, or 0 for whole fields")
def patch_larger_than_the_grid(request: Request) -> None:
    request.data["patch_size"] = 32
    request.sections["model"] = {"localized": False}


@case(
    "model.localized is true, but data.patch_size is 8: a localized block has weights for each "
    "cell of the whole grid; set model.localized=false, or data.patch_size=0"
)
def localized_with_patches(request: Request) -> None:
    request.data["patch_size"] = 8


@case("no run 20200101 in {store}: the store is empty; give --store, or train a run")
def start_from_an_unknown_run(request: Request) -> None:
    request.sections["training"] = {"start_from": "20200101"}


@case("launch.site is 'lokal', which is not known: did you mean 'local'?")
def launch_target_unknown(request: Request) -> None:
    request.sections["launch"] = {"site": "lokal"}
