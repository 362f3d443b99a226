"""Names that a configuration may give to samplers, SDEs and rules of noise levels. No dependence: reading a
configuration imports no torch. A test holds them against the tables SAMPLERS and SDES; RULES is made of them."""

from typing import Literal, get_args

SamplerName = Literal[
    "euler", "ancestral", "heun", "dpmpp_2m", "euler_maruyama", "dpmpp_3m", "exponential_4m", "dpmpp_2m_sde",
    "heun_churn", "predictor_corrector", "annealed_langevin", "dopri5", "modal_2m", "modal_4m", "mala", "flow_map",
    "consistency",
]  # fmt: skip
DIVERGENCE: Literal["contrastive_divergence"] = "contrastive_divergence"  # of an energy at one noise level
# their error on a Gaussian field is not that of steps through given levels: of the rules log-uniform alone acts on them
OF_STUDENTS: tuple[SamplerName, ...] = ("flow_map", "consistency")  # of a run of `physgen distill`, at its own levels
WITHOUT_RULE: tuple[SamplerName, ...] = ("annealed_langevin", "dopri5", "modal_2m", "modal_4m", "mala", *OF_STUDENTS)
UNMASKING: Literal["unmasking"] = "unmasking"  # how masked diffusion draws: it has no other sampler
ProcessName = Literal["gaussian", "masked"]
PATH_VARIANCE: Literal["path_variance"] = "path_variance"  # of the weights of a network's own paths
LossName = Literal[
    "denoising", "likelihood", "min_snr", "learned", "implicit", "sliced", "contrastive_divergence", "path_variance"
]
HeadName = Literal["preconditioned", "x0", "eps", "v", "score", "energy"]
SDEName = Literal["ou", "vp", "sub_vp", "ve", "cosine", "rectified_flow"]
LevelRule = Literal["checked", "chosen", "log-uniform"]

HEADS: tuple[HeadName, ...] = get_args(HeadName)
PLAIN_HEAD = HEADS[0]
RULES: tuple[LevelRule, ...] = get_args(LevelRule)
