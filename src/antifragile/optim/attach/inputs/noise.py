"""The rules on inputs, from one step to the next."""

from __future__ import annotations

from torch import Tensor, nn

from antifragile.errors import UsageError
from antifragile.optim.attach.attached_rule import AttachedRule
from antifragile.optim.attach.inputs.arguments import Arguments
from antifragile.optim.attach.inputs.perturbed import PerturbedInputs, StreamOf


class InputNoise:
    """The rules on inputs, with the inputs of the present step.

    Args:
        stream: Gives the address of a rule's random numbers.

    Attributes:
        rules: The rules; others may take their place between steps.
    """

    def __init__(self, stream: StreamOf) -> None:
        self.rules: list[AttachedRule] = []
        self._stream = stream
        self.begin_step()

    def begin_step(self) -> None:
        """Forget the inputs of the step before."""
        self._inputs = PerturbedInputs()

    @property
    def acting(self) -> list[AttachedRule]:
        """The rules that are not off at present."""
        return [attached for attached in self.rules if not attached.is_off]

    @property
    def n_perturbed(self) -> int:
        """Number of inputs that were perturbed within the present step."""
        return self._inputs.n_perturbed

    @n_perturbed.setter
    def n_perturbed(self, number: int) -> None:
        self._inputs.n_perturbed = number

    @property
    def awaits_embeddings(self) -> bool:
        """Whether noise is to be added to what an embedding of the present forward returns."""
        return self._inputs.awaits_embeddings

    def perturb(self, module: nn.Module, arguments: Arguments) -> Arguments | None:
        """Add noise to the arguments of a forward in training mode; None leaves them."""
        rules = self.acting
        return self._inputs.perturb(rules, self._stream, module, arguments) if rules else None

    def perturb_embedded(self, module: nn.Module, read: Tensor, x: Tensor) -> Tensor:
        """Add noise to what an embedding has read in a forward in training mode."""
        return self._inputs.perturb_embedded(module, read, x, self._stream)

    def check_found(self) -> None:
        """Check that every acting rule found what it perturbs within the present step.

        Raises:
            UsageError: One did not.
        """
        for attached in self.acting:
            if (found := self._inputs.not_found(attached)) is not None:
                raise UsageError(f"a rule on 'input' found {found}.")
