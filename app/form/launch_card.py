"""Choice of a site of the administrator's file, and the options that apply to it."""

from __future__ import annotations

from collections.abc import Mapping

import panel as pn
import panel_material_ui as pmui

from app import formatting
from app.components.cards import titled_card
from app.form.field import Field, OfferedField
from app.formatting import plain_text
from engine.errors import SiteError
from engine.launch.sites import LOCAL, Site, Sites
from engine.spec import LaunchOptions, Spec

ORDER = ["title", "site", "processes", "time_limit", "nodes", "partition", "account", "gpus", "threads", "upload"]
ORDER += ["restarts", "min_processes"]
EVERYWHERE = ("title", "site", "processes", "time_limit", "restarts", "min_processes")
ON_CLUSTERS = ("nodes", "gpus", "threads")


class LaunchCard:
    """Offers what the targets file allows. A value that doesn't fit the target stays, and is marked."""

    def __init__(self, fields: Mapping[str, Field], line: pn.viewable.Viewable):
        self._fields = fields
        self._targets, self._fault = Sites((LOCAL,)), ""
        self._about = pmui.Typography("", variant="body2", color="text.secondary", margin=(0, 0, 2, 0))
        self._trouble = pmui.Alert(
            object="", severity="warning", visible=False, margin=(0, 0, 8, 0), sizing_mode="stretch_width"
        )
        self.view = titled_card("Launch", self._trouble, line, self._about)
        self.read()

    def read(self) -> bool:
        """Read the targets file again; where it can't be used, this machine is left. Returns whether it changed."""
        known = self._targets.names, self._targets, self._fault
        try:
            self._targets, self._fault = Sites.read(), ""
        except SiteError as error:
            self._targets, self._fault = Sites((LOCAL,)), str(error)
        advice = f"{self._fault}\n\nUntil it is fixed, runs can only start on this machine." if self._fault else ""
        self._trouble.param.update(object=plain_text(advice), visible=bool(advice))
        return known != (self._targets.names, self._targets, self._fault)

    def show(self, launch: LaunchOptions) -> None:
        """Offer what the target of a draft allows, and hide what means nothing there."""
        self._offer(
            "site", {formatting.site_label(target.name, target.kind): target.name for target in self._targets.all}
        )
        target = self._chosen(launch)
        if target is None:
            return
        self._about.object = plain_text(about(target))
        self._offer("partition", choices(target.partitions))
        self._offer("account", choices(target.accounts))
        for option, field in self._fields.items():
            field.hint = hint(option, target)
            unusual = getattr(launch, option) != LaunchOptions.param[option].default
            field.view.visible = option in options_for(target) or unusual

    def refuse(self, spec: Spec) -> None:
        """Raise SiteError for what the target doesn't allow."""
        if self._fault and self._chosen(spec.launch) is None:
            raise SiteError(
                f"launch.site is {spec.launch.site!r}, but the targets file can't be used", option="launch.site"
            )
        self._targets.named(spec.launch.site).accept(spec.launch)

    def elsewhere(self, spec: Spec) -> bool:
        """True if the data are read on another machine, where this one can't look."""
        target = self._chosen(spec.launch)
        return bool(target and target.host) and not spec.launch.upload

    def _chosen(self, launch: LaunchOptions) -> Site | None:
        return next((target for target in self._targets.all if target.name == launch.site), None)

    def _offer(self, option: str, choices: Mapping[str, str]) -> None:
        field = self._fields[option]
        assert isinstance(field, OfferedField)
        field.offer(choices)


def options_for(target: Site) -> set[str]:
    """The launch options that mean something on a target."""
    chosen = {*EVERYWHERE, *(ON_CLUSTERS if target.scheduled else ())}
    named = {"partition": target.scheduled and target.partitions, "account": target.scheduled and target.accounts}
    return chosen | {option for option, some in named.items() if some} | ({"upload"} if target.host else set())


def choices(allowed: tuple[str, ...]) -> dict[str, str]:
    """Label → word; empty means the first that is allowed, whichever that will be."""
    first = f"{allowed[0]} (default)" if allowed else "the cluster's own"
    return {first: "", **{word: word for word in allowed}}


def hint(option: str, target: Site) -> str:
    """The target's own bound of an option, if it has one."""
    limits = target.limits
    most = {"processes": target.most_processes, "nodes": limits.nodes, "time_limit": limits.minutes}.get(option, 0)
    if option == "threads" and target.scheduled:
        return f"0 means {target.threads}"
    if option == "time_limit" and target.scheduled:
        return f"at most {most}, which 0 means" if most else "0: the scheduler's own"
    return f"at most {most}" if most else ""


def about(target: Site) -> str:
    """'Slurm by the login of hpc; runs in ~/mesoscope.'"""
    if not target.remote:
        return "Runs are processes of this machine and continue without the dashboard."
    host = f" on {target.host}" if target.host else ""
    kind = "Processes started over SSH" if target.kind == "ssh" else f"Jobs of {formatting.KINDS[target.kind]}"
    return f"{kind}{host}, in {target.folder}. Runs continue without the dashboard; results are fetched at the end."
