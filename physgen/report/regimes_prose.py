"""The words of the page on dynamical regimes: titles, captions, what each number means."""

from __future__ import annotations

from markupsafe import Markup

TITLES = {
    "phase_diagram": "phase diagram",
    "film_strip": "one trajectory through the regimes",
    "collapse": "collapse onto single samples",
    "cloning": "when classes are decided: U-turn and cloning",
    "information": "information on the class",
    "loss_gap": "denoising loss of training and unseen data",
    "memorization": "nearest training sample",
    "copies": "measures of copying",
    "dynamics": "memorization while the network was trained",
}
CAPTIONS = {
    "phase_diagram": Markup(
        "Time <i>t</i> of the forward Ornstein-Uhlenbeck process against the excess exponent α = ln <i>n</i> / "
        "<i>d</i> of <i>n</i> samples with <i>d</i> numbers each; a sampler goes from top to bottom. "
        "<i>Trivial</i>: nothing is decided. <i>Speciated</i>: the class is decided, the sample is not. "
        "<i>Collapsed</i>: with the exact score of the samples, the backward process can only end on one of them. "
        "Lines: closed form of the Gaussian field or law with the spectrum of the data. Points: measured on nested "
        "subsets of the data, with standard errors."
    ),
    "film_strip": Markup(
        "One sample on its way from noise to data, the earliest frame left, all equally spaced in time. Above: the "
        "noisy state. Below: the mean of all samples that it may still become. Right: where it ends, and the "
        "nearest training sample, moved onto it where the data have symmetries. <i>Collapsed</i>: the exact score "
        "of the samples leads back to one of them. <i>Below t_C</i>: so would it here; a network that does not "
        "copy goes elsewhere."
    ),
    "collapse": Markup(
        "Left: excess entropy <i>f</i>(<i>t</i>) per dimension, which vanishes at the collapse of a large system; "
        "black points: a lower bound, by the samples of other units; blue: by the density of the law, where that "
        "is known; line: the Gaussian law with the same spectrum; dashed above: ln(<i>n</i> and symmetric "
        "copies)/<i>d</i>. Right: participation Y₂(<i>t</i>), the probability that two endings of one noisy state "
        "are the same sample (green: the same image of it) under the exact score of the samples: 0 in the "
        "speciated regime, 1 when collapsed. t_C is where it, or the mean of both, crosses 0.58, its value at the "
        "collapse of Gaussian laws."
    ),
    "cloning": Markup(
        "Probability φ(<i>t</i>) that a sample is in the same class after going up to time <i>t</i> and back "
        "(U-turn), or that two clones of one trajectory at <i>t</i> end in the same class. With the exact score "
        "both are equal; their difference measures the error of score and steps. Lines: one Gaussian cut by its "
        "first principal component, and a mixture of two Gaussian classes, where the class is the component, so "
        "that φ stays below 1 where these overlap."
    ),
    "information": Markup(
        "Information on the class, the side of the first principal component, that the noisy state holds, by the "
        "posterior of the other samples; it is shown above their collapse time, where that posterior is one of the "
        "law. It is lost fastest where the backward process decides."
    ),
    "loss_gap": Markup(
        "Denoising loss by time, of training samples and of samples that the network has not seen, over the same "
        "noise. A network that remembers its training set has the smaller loss on it, first at small times."
    ),
    "memorization": Markup(
        "The physics' own test of copies, symmetries left out of account. Left: similarity of each sample to its "
        "nearest neighbour in the training set. Right: distance to the nearest over that to the second nearest, "
        "which is near 0 for a copy. Drawn samples beside held-out data that no model has seen."
    ),
    "copies": Markup(
        "Published measures of copying: parts of the drawn samples with a gap ratio d₁/d₂ below 1/3, 1/2, 1/4; "
        "authenticity (falls where a model copies); condensation Y₂ of the posterior over training samples; AUC "
        "and KS of the nearest distance. Diamonds: the same of held-out data. Beyond the bar one in a hundred "
        "models of the true law would be called memorizing by that measure."
    ),
    "dynamics": Markup(
        "The monitor of the training: quality and part of copies against the steps, each by its part of the peak "
        "learning rate. Between τ_gen and τ_mem the network draws good samples that are not copies."
    ),
}
MEANINGS = {
    "n": "samples",
    "d": "numbers in each sample",
    "alpha": "excess exponent ln n / d",
    "orbit_size": "symmetric copies of a sample that count as the same",
    "t_S": "speciation time, ½ ln Λ with Λ the largest eigenvalue of the covariance",
    "t_S_exact": "exact change of sign of the curvature, ½ ln(1 + Λ)",
    "t_C": "collapse time, where Y₂ = 0.58 (symmetric copies count as one sample)",
    "t_C_law": "collapse time by the known density of the law: its excess entropy vanishes",
    "t_C_plain": "collapse time without the symmetries",
    "t_C_theory": "collapse time of the Gaussian law with this spectrum",
    "cloning_gap": "cloning minus U-turn probability where it is largest in errors",
    "loss_gap": "loss of unseen over that of training samples, minus 1, where it is largest in errors",
    "loss_gap_at_t": "time of that gap",
    "f_mem": "part of the drawn samples with a gap ratio below 1/3",
    "f_mem_heldout": "the same of held-out data",
    "t_C_trajectories": "mean time of the last change of the nearest training sample along trajectories of the model; "
    "a model without copies has such a time too",
    "tau_gen": "effective steps (each by its part of the peak learning rate) until the distance to the data has fallen",
    "tau_mem": "effective steps until f_mem has risen",
    "window": "speciated window t_S − t_C",
    "ln_n_window": "ln of the number of samples from which on t_C < t_S, for the Gaussian law with this spectrum",
}
