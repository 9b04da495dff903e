"""Names of settings that say nothing of what a network computes: a closed list of words, so that others are named."""

import re
from typing import Any, Final

_WORDS: Final = """
ac actor actors agent algo algorithm anneal annealing arch architecture author autosave autotune average avg batch
batches begin best betas billion bs buffer capacity capture checkpoint checkpoints ckpt class classname code comment
commit conf config configuration count counter cpu cpus cuda current data dataset date debug decay depth
deterministic device devices dim dimension dimensions dims dir directory disable done dtype e early elapsed enable
enabled end entity entropy env environment environments envs ep episode episodes epoch epochs eps epsilon eval evals
evaluate evaluation every exp experiment exploration explore extension fc file filename final folder fps fraction
framework freq frequency gae game gamma git global gpu gpus hash hf hidden hiddens host hours hyperparameters id idx
in index info init initial interval is it iter iteration iterations iters job jobs k keep lam lambda last layer
layers learn learner learning level load local log logdir logger logging logs loop lr made master max maximum mb
mean mem message min mini minibatch minibatches minimum minutes mlp model models momentum msg mujoco n name net
network neurons new nn node nodes note notes nproc num number numpy offline old on online optimization optimize
optimizer or original ortho orthogonal p parameters params path patience per percentage period phase pi plot policy
port pre prefix prio priority process processes progress project python pytorch rand random rank ratio record reload
render replay repo report results resume rollout rollouts root run runner runs sample samples sampling save saved
score seconds seed self session set setup sha shape shuffle size sizes soft source split start started stats step
steps stop stopping success sync system tag tags task tau tb tensorboard test testing th threads time timeout
timestamp timestep timesteps to torch total track train trainable training trial tune uid uniform unit units update
updates upload url use user username utd uuid val valid validation vec vector verbose verbosity version video videos
visualize wait wall walltime wandb warm warmup weight weights width with worker workers world xla
"""
_HARMLESS: Final = frozenset(_WORDS.split())
_ENDS: Final = frozenset(
    [
        "act",
        "acts",
        "action",
        "actions",
        "ob",
        "obs",
        "observation",
        "observations",
        "state",
        "states",
        "input",
        "inputs",
        "output",
        "outputs",
    ]
)
_SIZES: Final = frozenset(
    [
        "dim",
        "dims",
        "dimension",
        "dimensions",
        "size",
        "sizes",
        "shape",
        "n",
        "num",
        "number",
        "units",
        "count",
        "hidden",
        "layers",
    ]
)
"""What is said of a network's ends without a part in what it computes."""
_SURROUNDINGS: Final = re.compile(
    r"(?i)wandb|logg\w*|tensorboard|hydra|runner|trainer|launcher|slurm|checkpoint\w*|callbacks?|(?:env_)?(?:random|rng)_states?"
)
"""Groups of such settings."""


_LEARNERS_WORDS: Final = """
adaptive adv advantage advantages bootstrap bounds clip clipped clipping clips coef coeff coefficient critic critics
cutoff discriminator double ent error explained factor frac grad gradient grads hard huber kl limit loss losses lr
mode no noise norm normalise normalization normalize normalized normed param penalty polyak predicted prop
proportion q qf range ret return returns rew reward rewards rms rmsprop scale scaled scaler scaling schedule
scheduled scheduler separate shaper shaping smooth smoothing squared std surrogate target targets threshold truncate
type v value values vf vloss
"""
_LEARNERS: Final = frozenset(_LEARNERS_WORDS.split())
"""Words of what learns: what they clip, scale and normalize is the learner's, where no other word says otherwise."""
_ALONE: Final = frozenset(
    (
        "average", "avg", "decay", "e", "fraction", "k", "lam", "lambda", "max", "maximum", "mean", "min", "minimum",
        "n", "p", "percentage", "ratio", "soft",
    )
)  # fmt: skip
"""Words that say nothing of what they are of: a factor may be called so."""
_STRUCTURE: Final = re.compile(
    r"(?i)resid|skip|dense(?:net|ly)|d2rl|gated?\b|lstm|gru|rnn|recurr|transformer|atten|squash|tanh|norm(?!al)|cnn|conv|"
    r"moe|mixture|ensemble|film|highway|siren|fourier|beta|\bflow|diffus|encod|dueling|noisy|quantile|c51|iqn|delta|mirror"
)
"""In a text, whatever its name: a network or an action that is no plain one."""


_ADDED: Final = re.compile(
    r"(?i)off_?set|shift|bias|cent(?:er|re)|(?:^|[._])(?:add|plus|start|low|high|mean|lag|delay)(?:[._]|$)|cl(?:i|am)p|"
    r"limit|bound|trim"
)
"""In the name of what is added, or bounds: there one is not nothing, as it is of a factor."""


def is_off(key: str, value: Any) -> bool:
    """Whether a setting of this value does nothing: it is false, empty or 0, or a factor of 1.

    >>> is_off("obs_gain", 1.0), is_off("obs_gain", 2.0), is_off("action_offset", 1), is_off("dueling", True)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return not value
    return value == 0 or (value == 1 and not _ADDED.search(key))


def is_harmless(path: str, value: str | int | float | list[Any] | tuple[Any, ...]) -> bool:
    """Whether a setting is off, a factor of one, among a program's surroundings, or all words of its name are known.

    >>> is_harmless("args.num_envs", 8), is_harmless("args.use_prev_action", True), is_harmless("obs_divisor", 10.0)
    (True, False, False)
    >>> is_harmless("obs_dim", 17), is_harmless("n_action_steps", 8)
    (True, False)
    >>> is_harmless("random_state.np.[2]", 623), is_harmless("state.np.[2]", 623)
    (True, False)
    >>> is_harmless("max", 2.0), is_harmless("arch", "residual"), is_harmless("arch", "mlp")
    (False, False, True)
    """
    *parents, key = path.split(".")
    if is_off(key, value) or any(_SURROUNDINGS.fullmatch(parent) for parent in parents):
        return True
    texts = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    if any(isinstance(text, str) and _STRUCTURE.search(text) for text in texts):
        return False
    names = _words(key)
    return names <= _ENDS | _SIZES if names & _ENDS else names <= _HARMLESS and not names <= _ALONE


def is_learners(key: str, value: Any) -> bool:
    """Whether a setting with a word of the learner's is off, a text, or all of its words are such or harmless.

    >>> is_learners("vf_clip_range", 0.2), is_learners("noise_free_gain", 3.0), is_learners("control_value_scale", 2.0)
    (True, False, False)
    """
    return is_off(key, value) or isinstance(value, str) or _words(key) <= _LEARNERS | _HARMLESS


def is_size(path: str) -> bool:
    """Whether all words of its name say that it is a size.

    >>> is_size("base._hidden_size"), is_size("pi.k"), is_size("pi.n_step_gain")
    (True, False, False)
    """
    names = _words(path.rpartition(".")[2])
    return bool(names & _SIZES) and names <= _ENDS | _SIZES


def _words(key: str) -> set[str]:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower().replace("-", "_").split("_")
    return {word.strip("0123456789") for word in words} - {""}
