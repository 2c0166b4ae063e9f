"""The numbers of the page of corrections: python benchmarks/corrections.py     (15 CPU seconds)"""

from __future__ import annotations

import torch
from chapter_file import measure
from results_file import write

SAYS = {
    "vanished": (2, "clipped gradient of the chain that shrinks, in units of 1e-12", "1e-12"),
    "clipped": (1e-3, "clipped gradient of the chain that stretches", "length"),
    "sigmoid_right": (0.01, "right of three classes, one sigmoid", "share"),
    "three_right": (0.01, "right of three classes, three scores", "share"),
    "minimised": (0.01, "reward of the policy that minimises it", "reward"),
    "maximised": (0.01, "reward of the policy that maximises it", "reward"),
    "noise": (0.02, "reward of the best-looking action in a world of random numbers", "reward"),
    "reset_kept": (0.01, "right answers with the state that reset returns", "share"),
    "reset_thrown": (0.03, "right answers with the state of the last episode", "share"),
    "prompt_words": (0.01, "pairs of pictures decided without the picture", "share"),
    "prompt_both": (0.05, "pairs of pictures decided with the picture", "share"),
    "cpu_seconds": (60, "CPU seconds of the page's kernel", "seconds"),
    "memory_gb": (1, "largest resident memory of the page's kernel", "GB"),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    write("corrections", measure("appendix/corrections", SAYS))
