r"""Mean-field glasses as N grows: where Monte Carlo, and where a diffusion model, ceases to sample them."""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.domains.spins.mean_field.annealed import Annealed as Annealed
    from physgen.domains.spins.mean_field.annealed import annealed_glass as annealed_glass
    from physgen.domains.spins.mean_field.annealed import annealed_p_spin as annealed_p_spin
    from physgen.domains.spins.mean_field.answer import Answer as Answer
    from physgen.domains.spins.mean_field.answer import can_sample as can_sample
    from physgen.domains.spins.mean_field.lines import Jump as Jump
    from physgen.domains.spins.mean_field.lines import Lines as Lines
    from physgen.domains.spins.mean_field.lines import critical_lines as critical_lines
    from physgen.domains.spins.mean_field.lines import denoising_jump as denoising_jump
    from physgen.domains.spins.mean_field.random_energy import RandomEnergies as RandomEnergies
    from physgen.domains.spins.mean_field.random_energy import random_energy_average as random_energy_average
    from physgen.domains.spins.mean_field.random_energy import random_energy_figures as random_energy_figures
    from physgen.domains.spins.mean_field.random_energy import random_energy_levels as random_energy_levels
    from physgen.domains.spins.mean_field.random_energy import random_energy_states as random_energy_states
    from physgen.domains.spins.mean_field.random_energy import random_energy_theory as random_energy_theory
    from physgen.domains.spins.mean_field.state_evolution import PSpin as PSpin

__getattr__, __dir__, __all__ = attach(__name__, __file__)
