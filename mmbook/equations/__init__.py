"""The ground floor: every computable equation of the book as one pure function of tensors.

Letters: B batch, T response length, V vocabulary (as an argument: values), K responses. The mask m (B, T) is
1 on response tokens up to and including EOS and 0 elsewhere. `book/notation.md` says what each symbol means.
"""

from .agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
from .asking import answer_entropy, ask_threshold, information_gain
from .attribution import integrated_gradients, occlusion
from .averages import masked_mean, whiten
from .bellman import (
    action_value,
    bellman_expectation,
    bellman_optimality,
    occupancy,
    option_model,
    policy_value,
    soft_policy,
    soft_value,
)
from .causes import back_door
from .contrastive import (
    alignment,
    clip_loss,
    info_nce,
    modality_gap,
    recall_at,
    similarity,
    uniformity,
)
from .decisions import expected_cost, hand_over, shifted_posterior
from .direct import best_of_n_kl, best_of_n_policy, dpo_loss, ipo_loss
from .divergence import adaptive_beta, kl_k1, kl_k2, kl_k3
from .fusion import (
    additive_accuracy,
    attention,
    bayes_accuracy,
    bilinear_fusion,
    gated_fusion,
    gated_residual,
    information,
    weighted_average,
)
from .games import exploitability, regret_matching
from .generation import nearest_code, straight_through, vq_loss
from .metrics import bleu, chrf, clipped_matches, f1_score, iou, rating_step, rouge_l, sample_size
from .optimum import kl_objective, kl_regularised_optimum
from .policy_gradient import group_standardised, leave_one_out, policy_gradient_loss, softmax_policy_gradient
from .ppo import approximate_kl, clip_fraction, explained_variance, policy_loss, total_loss, value_loss
from .preference import (
    ordinal_loss,
    preference_loss,
    preference_probability,
    ranking_loss,
    tie_loss,
    tie_probabilities,
)
from .privacy import flipped_loss, response_epsilon
from .probability import entropy, log_prob
from .representations import (
    gru_step,
    mel,
    mel_filters,
    neighbour_accuracy,
    patch_embedding,
    skip_gram_loss,
    spectrogram,
)
from .returns import discounted_return, gae, shaped_reward, standardised_score
from .scaling import (
    activation_bytes,
    cache_bytes,
    distillation_loss,
    lora,
    quantise,
    roofline,
    state_bytes,
    update_seconds,
)
from .temporal import (
    double_q_target,
    eligibility,
    epsilon_greedy,
    expected_sarsa_target,
    q_learning_target,
    softmax_policy,
    step_size,
    td_error,
)
from .training import adversarial_step, clip_gradient, uncertainty_loss
from .trust_region import fisher_matrix, mean_divergence, natural_step, surrogate
from .values import dqn_loss, sac_policy_loss, soft_state_value

__all__ = [
    "action_value", "activation_bytes", "adaptive_beta", "additive_accuracy", "adversarial_step",
    "alignment", "answer_entropy", "approximate_kl", "ask_threshold", "attention", "back_door",
    "bayes_accuracy", "bellman_expectation", "bellman_optimality", "best_of_n_kl", "best_of_n_policy",
    "bilinear_fusion", "bleu", "cache_bytes", "chrf", "clip_fraction", "clip_gradient", "clip_loss",
    "clipped_matches", "cohen_kappa", "discounted_return", "distillation_loss", "double_q_target",
    "dpo_loss", "dqn_loss", "eligibility", "entropy", "epsilon_greedy", "expected_cost",
    "expected_sarsa_target", "explained_variance", "exploitability", "f1_score", "fisher_matrix",
    "fleiss_kappa", "flipped_loss", "gae", "gated_fusion", "gated_residual", "group_standardised",
    "gru_step", "hand_over", "info_nce", "information", "information_gain", "integrated_gradients", "iou",
    "ipo_loss", "kl_k1", "kl_k2", "kl_k3", "kl_objective", "kl_regularised_optimum", "krippendorff_alpha",
    "leave_one_out", "log_prob", "lora", "masked_mean", "mean_divergence", "mel", "mel_filters",
    "modality_gap", "natural_step", "nearest_code", "neighbour_accuracy", "occlusion", "occupancy",
    "option_model", "ordinal_loss", "patch_embedding", "policy_gradient_loss", "policy_loss",
    "policy_value", "preference_loss", "preference_probability", "q_learning_target", "quantise",
    "ranking_loss", "rating_step", "recall_at", "regret_matching", "response_epsilon", "roofline",
    "rouge_l", "sac_policy_loss", "sample_size", "shaped_reward", "shifted_posterior", "similarity",
    "skip_gram_loss", "soft_policy", "soft_state_value", "soft_value", "softmax_policy",
    "softmax_policy_gradient", "spectrogram", "standardised_score", "state_bytes", "step_size",
    "straight_through", "surrogate", "td_error", "tie_loss", "tie_probabilities", "total_loss",
    "uncertainty_loss", "uniformity", "update_seconds", "value_loss", "vq_loss", "weighted_average",
    "whiten",
]  # fmt: skip
