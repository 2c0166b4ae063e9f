"""The caption tree against a plain enumeration of all captions."""

import itertools
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import mmbook.world.environments  # noqa: F401
from mmbook.world import Scene, Sticker, check
from mmbook.world.caption_tree import SCENE, CaptionTree

NAME = "mmbook/CaptionTree-v0"


def every_caption(words: tuple[str, ...], length: int) -> set[tuple[str, ...]]:
    """All captions: some words and the full stop, or as many words as there is room for."""
    out = set()
    for n in range(1, length + 1):
        for way in itertools.product(words, repeat=n):
            if words[-1] not in way[:-1] and (way[-1] == words[-1] or n == length):
                out.add(way)
    return out


@pytest.mark.parametrize(("words", "length"), [(("cat", "fish", "bus", ",", "."), 4), (("cat", "."), 3)])
def test_responses_rewards_and_states_are_those_of_an_enumeration(
    words: tuple[str, ...], length: int
) -> None:
    tree = CaptionTree(words=words, length=length)
    assert len(tree.responses) == len(set(tree.responses))
    assert set(tree.responses) == every_caption(words, length)
    worth = [check(" ".join(way), SCENE).utility for way in tree.responses]
    assert tree.rewards.tolist() == worth
    assert len(tree.prefixes) == sum((len(words) - 1) ** n for n in range(length)) + 1


def test_the_default_tree_has_true_full_false_and_ungrammatical_captions() -> None:
    tree = CaptionTree()
    assert len(tree.prefixes) == 86 and len(tree.responses) == 341 and tree.mdp.P.shape == (86, 5, 86)
    worth = dict(zip(map(tree.text, tree.responses), tree.rewards.tolist(), strict=True))
    assert worth["cat, bus."] == worth["bus, cat."] == 3 == tree.rewards.max()
    assert worth["cat."] == 1.5 and worth["cat, fish."] == 0 and worth["fish."] == -1.5
    assert worth["cat,."] == worth["cat, bus,"] == worth["."] == -3
    checks = [check(tree.text(way), SCENE) for way in tree.responses]
    assert {(c.grammatical, c.true, c.full) for c in checks} == {
        (False, False, False),
        (True, False, False),
        (True, True, False),
        (True, True, True),
    }


def test_playing_a_response_in_the_environment_earns_its_reward() -> None:
    tree = CaptionTree()
    assert tree.paths.m.sum(-1).tolist() == [len(way) for way in tree.responses]
    env = gymnasium.make(NAME)
    for k in range(0, len(tree.responses), 7):
        s, _ = env.reset(seed=0)
        total, ended = 0.0, False
        for i in range(int(tree.paths.m[k].sum())):
            assert not ended and s == tree.paths.states[k, i]
            assert tree.prefixes[s] == tree.responses[k][:i]
            s, reward, ended, _, _ = env.step(int(tree.paths.actions[k, i]))
            total += reward
        assert ended and total == tree.rewards[k] and tree.prefixes[s] == ("end",)


def test_log_probabilities_are_products_of_the_words_for_arrays_and_tensors() -> None:
    tree = CaptionTree()
    pi = np.random.default_rng(0).dirichlet(np.ones(5), 86)
    pi[0] = [0, 0.5, 0.2, 0.2, 0.1]  # no caption begins with the cat
    with np.errstate(divide="ignore"):
        log_p = tree.log_prob(np.log(pi))
    slow = []
    for way in tree.responses:
        p = 1.0
        for i, word in enumerate(way):
            p *= pi[tree.prefixes.index(way[:i]), tree.words.index(word)]
        slow.append(p)
    assert np.exp(log_p) == pytest.approx(np.array(slow), abs=1e-15) and np.exp(log_p).sum() == pytest.approx(
        1
    )
    log_pi = torch.tensor(pi).clamp(min=1e-9).log().requires_grad_()
    tree.log_prob(log_pi).exp().sum().backward()
    assert np.allclose(tree.log_prob(log_pi.detach()).exp(), slow, atol=1e-8)
    assert log_pi.grad is not None and torch.isfinite(log_pi.grad).all()


def test_gymnasium_accepts_it_alone_and_in_batches() -> None:
    scene = Scene((Sticker("fish", 1, big=True),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(NAME).unwrapped, skip_render_check=True)
        envs = gymnasium.make_vec(NAME, num_envs=3, vectorization_mode="vector_entry_point", scene=scene)
    envs.reset(seed=0)
    envs.step(np.array([1, 1, 0]))
    _, reward, ended, _, _ = envs.step(np.array([4, 0, 4]))
    assert reward.tolist() == [3, 0, -1.5] and ended.tolist() == [True, False, True]


@pytest.mark.parametrize("settings", [{"words": (".",)}, {"words": ("a", "a", ".")}, {"length": 0}])
def test_what_is_no_tree_is_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match="words, length: expected"):
        CaptionTree(**settings)
