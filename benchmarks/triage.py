"""The numbers of the chapter on triage: python benchmarks/triage.py     (80 CPU seconds)"""

from __future__ import annotations

import torch
from chapter_file import record

Says = tuple[float, str, str]
COST = "cost"


def says() -> dict[str, Says]:
    """Key of the chapter: (tolerance, what it is, unit)."""
    out: dict[str, Says] = {}
    for who, truth in (("wait", "can wait"), ("now", "has to be seen now")):
        out[f"{who}_right"] = (0.001, f"cases of which it is true that each {truth}", "share")
        out[f"{who}_cost"] = (0.01, f"mean cost of saying {who} to all", COST)
    for name in ("scan", "pulse", "note"):
        out[f"floor_{name}"] = (0.001, f"exact least cost with {name} alone", COST)
        out[f"{name}_lost"] = (0.001, f"exact least cost without {name}, others missing at times", COST)
        out[f"{name}_permuted"] = (0.3, f"cost with {name} permuted, mean of 3 seeds", COST)
        out[f"{name}_missing"] = (0.3, f"cost with {name} missing, mean of 3 seeds", COST)
        out[f"{name}_alone"] = (0.15, f"cost with {name} alone, mean of 3 seeds", COST)
    out |= {
        "floor_pair": (0.001, "exact least cost with pulse and note", COST),
        "floor_all": (0.001, "exact least cost with all modalities", COST),
        "floor": (0.001, "exact least cost, each modality missing one time in ten", COST),
        "threshold_best": (0.01, "two decisions, exact probabilities, best threshold", COST),
        "threshold_half": (0.01, "two decisions, exact probabilities, threshold one half", COST),
        "exact_likeliest": (0.01, "exact probabilities, likeliest truth, 4000 cases", COST),
        "exact_cheapest": (0.01, "exact probabilities, cheapest decision", COST),
        "exact_person": (0.01, "exact probabilities, cheapest decision or a person", COST),
        "exact_handed": (0.005, "cases handed over by the exact rule", "share"),
        "exact_accuracy": (0.005, "accuracy of the exact likeliest", "share"),
        "exact_cold": (0.01, "exact probabilities at temperature 0.5", COST),
        "exact_hot": (0.01, "exact probabilities at temperature 2", COST),
        "model_cost": (0.06, "mean of 3 seeds, cheapest decision or a person", COST),
        "model_worst": (0.08, "worst of 3 seeds", COST),
        "model_likeliest": (0.15, "mean of 3 seeds, likeliest truth", COST),
        "model_accuracy": (0.015, "accuracy, mean of 3 seeds", "share"),
        "gap": (0.06, "cost above the exact rule's, mean of 3 seeds", COST),
        "gap_low": (0.06, "lower end of its 95 % interval over cases", COST),
        "gap_high": (0.06, "upper end of its 95 % interval over cases", COST),
        "half_cost": (0.08, "mean of 3 seeds, clearest half of the cases", COST),
        "all_cost": (0.08, "mean of 3 seeds, nothing handed over", COST),
        "half_exact": (0.01, "exact probabilities, clearest half of the cases", COST),
        "all_exact": (0.01, "exact probabilities, nothing handed over", COST),
        "temperature": (0.1, "temperature of held-out likelihood, mean of 3 seeds", "temperature"),
        "cooled": (0.06, "cost at that temperature, mean of 3 seeds", COST),
        "cooled_low": (0.05, "change of cost by it, lower end of its 95 % interval", COST),
        "cooled_high": (0.05, "change of cost by it, upper end of its 95 % interval", COST),
        "error": (0.01, "calibration error of now or not, mean of 3 seeds", "probability"),
    }
    for ward in ("table", "strained"):
        out[f"{ward}_missed"] = (0.01, f"learned cost of now told to wait, ward {ward}", "looks")
        out[f"{ward}_missed_true"] = (0.01, f"true cost of now told to wait, ward {ward}", "looks")
        out[f"{ward}_person"] = (0.08, f"cases handed over, learned costs, ward {ward}", "share")
        out[f"{ward}_harm"] = (0.08, f"urgent cases not seen now, learned costs, ward {ward}", "share")
        out[f"{ward}_pays"] = (0.1, f"cost with learned costs, ward {ward}", COST)
        out[f"{ward}_could"] = (0.1, f"cost with true costs, ward {ward}", COST)
    for key, name in {"stuck": "without", "policy": "with"}.items():
        out[f"{key}_cost"] = (0.08, f"policy gradient {name} entropy bonus", COST)
        out[f"{key}_person"] = (0.15, f"handed over, policy gradient {name} entropy bonus", "share")
        out[f"{key}_same"] = (0.12, f"decisions as the formula's, {name} entropy bonus", "share")
    out |= {
        "formula_cost": (0.08, "formula on the same probabilities, seed 0", COST),
        "cheat_inhouse": (0.1, "trained on marked scans, in-house", COST),
        "cheat_elsewhere": (0.4, "trained on marked scans, elsewhere", COST),
        "cheat_inhouse_right": (0.03, "accuracy in-house, trained on marked scans", "share"),
        "cheat_elsewhere_right": (0.06, "accuracy elsewhere, trained on marked scans", "share"),
        "cheat_permuted": (0.4, "trained on marked scans, scans permuted in-house", COST),
        "honest_permuted": (0.2, "trained on clean scans, scans permuted in-house", COST),
        "cheat_covered": (0.4, "trained on marked scans, corner covered in-house", COST),
        "fixed": (0.08, "trained with the corner covered, elsewhere", COST),
    }
    for place in ("quiet", "epidemic"):
        out[f"{place}_came"] = (0.12, f"cost at base rates {place}, as it came", COST)
        out[f"{place}_corrected"] = (0.1, f"cost at base rates {place}, corrected", COST)
        out[f"{place}_floor"] = (0.001, f"exact least cost at base rates {place}", COST)
        out[f"{place}_low"] = (0.1, f"saved by the correction, {place}, lower end of 95 %", COST)
        out[f"{place}_high"] = (0.15, f"saved by the correction, {place}, upper end of 95 %", COST)
    out["cpu_seconds"] = (120, "CPU seconds of the whole chapter's kernel", "seconds")
    out["memory_gb"] = (1, "largest resident memory of the chapter's kernel", "GB")
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    record("practice/triage", says())
