"""Progress of a training, as rank 0 reports it; known without TensorFlow."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

OPTIONAL = ("loss_adversarial", "loss_discriminator", "val_loss", "val_rmse")  # left out where there is none


@dataclass(frozen=True)
class Earlier:
    """Networks of an ensemble that are trained already, with their records and their time."""

    networks: int = 0
    seq: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class ProgressRecord:
    """State of a training after some steps, or after the validation of an epoch: one line of progress.jsonl.

    seq : number of the record, from 1 over all launches; time : seconds since 1970-01-01 UTC.
    epoch, step : counted from 1, of `epochs` and `steps`.
    loss : mean over the last steps; val_loss, val_rmse : of the validation part, val_rmse in the target's unit.
    samples_per_s, eta_s : None until steps have been timed.
    """

    seq: int
    time: float
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    loss_adversarial: float | None
    loss_discriminator: float | None
    val_loss: float | None
    val_rmse: float | None
    samples_per_s: float | None
    learning_rate: float
    elapsed_s: float
    eta_s: float | None

    def after(self, earlier: Earlier, networks: int) -> ProgressRecord:
        """The same state as of an ensemble of so many networks, of which `earlier` are trained."""
        total, done = self.epochs * self.steps, (self.epoch - 1) * self.steps + self.step
        following = (networks - earlier.networks - 1) * self.elapsed_s * total / done
        return replace(
            self,
            seq=earlier.seq + self.seq,
            epoch=earlier.networks * self.epochs + self.epoch,
            epochs=networks * self.epochs,
            elapsed_s=earlier.elapsed_s + self.elapsed_s,
            eta_s=None if self.eta_s is None else self.eta_s + following,
        )

    def plain(self) -> dict[str, object]:
        """Fields by name, as progress.jsonl holds them."""
        return {name: value for name, value in asdict(self).items() if value is not None or name not in OPTIONAL}
