"""BatchNorm's statistics of the user's own images, beside those that a network came with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.store import ValueRange
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.opening import load_encoder
from hundredfold.encode.protocol import ConcatenatedEncoder
from hundredfold.ssl.adapt import adapted_encoder, take_statistics
from hundredfold.ssl.pool import Pool

#: What the second half has for itself.
OWN = {"hash", "provenance", "seen_count"}


def encoder(name: str) -> Encoder:
    """A network of random weights."""
    torch.manual_seed(0)
    return Encoder(
        create_backbone(name, weights="none"), size=32, value_range=None, fit="pad",
        provenance={"method": "none"}, seen=frozenset(),
    )


@pytest.fixture(scope="module")
def initial() -> Encoder:
    """One with BatchNorm."""
    return encoder("resnet10t")


@pytest.fixture(scope="module")
def adapted(initial: Encoder, pool: Pool) -> ConcatenatedEncoder:
    """What it becomes with the statistics of forty cells."""
    made = adapted_encoder(initial, pool, seed=0)
    assert made is not None
    return made


def test_the_first_half_of_a_vector_is_that_of_the_network_as_it_came(
    initial: Encoder, adapted: ConcatenatedEncoder, pool: Pool
) -> None:
    batch = pool.pixels[pool.rows[:6]]
    vectors, before = adapted.encode(batch), initial.encode(batch)
    assert vectors.shape == (6, 2 * initial.dimension)
    np.testing.assert_array_equal(vectors[:, : initial.dimension], before)
    assert not np.allclose(vectors[:, initial.dimension :], before)


def test_both_halves_have_the_last_stages_if_asked_for(initial: Encoder, pool: Pool) -> None:
    made = adapted_encoder(initial, pool, seed=0, stages=3)
    assert made is not None
    assert made.dimension == 2 * (512 + 128 + 256)
    vectors = made.encode(pool.pixels[pool.rows[:2]])
    np.testing.assert_array_equal(vectors[:, :512], initial.encode(pool.pixels[pool.rows[:2]]))
    assert not np.allclose(vectors[:, :896], vectors[:, 896:])


def test_the_statistics_are_the_means_and_variances_of_what_each_layer_is_given(pool: Pool) -> None:
    """Against a network in training mode, which normalises by those of the batch themselves."""
    backbone = encoder("resnet10t").backbone
    batch = pool.pixels[pool.rows]
    images = backbone.normalise(torch.from_numpy(batch))
    with torch.no_grad():
        expected = backbone.train()(images)
        take_statistics(backbone, [batch])
        found = backbone(images)
    assert not backbone.training
    # Variances are kept with n - 1 and used with n: a trifle at 40 images, most where maps are smallest.
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05 * float(expected.std()))


def test_batches_count_alike_and_what_was_there_before_is_forgotten(pool: Pool) -> None:
    backbone = encoder("resnet10t").backbone
    first = next(one for one in backbone.modules() if isinstance(one, torch.nn.BatchNorm2d))
    means = []
    for batches in ([[0, 1, 2]], [[3, 4, 5]], [[0, 1, 2], [3, 4, 5]]):
        take_statistics(backbone, (pool.pixels[pool.rows[rows]] for rows in batches))
        assert first.running_mean is not None
        means.append(first.running_mean.clone())
    torch.testing.assert_close(means[2], (means[0] + means[1]) / 2)


def test_the_images_looked_at_are_told_and_the_network_given_stays_as_it_was(
    initial: Encoder, adapted: ConcatenatedEncoder, pool: Pool
) -> None:
    assert adapted.parts[0].hash == encoder("resnet10t").hash == initial.hash
    assert adapted.parts[1].hash != initial.hash
    assert adapted.seen == pool.seen()
    assert adapted_encoder(initial, pool, seed=0).hash == adapted.hash  # type: ignore[union-attr]


def test_what_is_done_to_the_pixels_is_the_same_for_both_halves(pool: Pool) -> None:
    given = Encoder(
        create_backbone("resnet10t", weights="none"), size=32, value_range=ValueRange(0.0, 4095.0),
        fit="crop", provenance={}, seen=frozenset(), symmetry="mirror", window=(40.0, 400.0),
    )
    made = adapted_encoder(given, pool, seed=0)
    assert made is not None
    first, second = ({k: v for k, v in part.facts.items() if k not in OWN} for part in made.parts)
    assert first == second
    assert {"window", "value_range", "fit", "symmetry", "size", "mean", "std"} <= first.keys()


def test_it_is_read_as_it_was_written(adapted: ConcatenatedEncoder, tmp_path: Path) -> None:
    adapted.save(tmp_path / "adapted")
    assert load_encoder(tmp_path / "adapted").hash == adapted.hash


def test_without_batchnorm_there_is_nothing_to_adapt(pool: Pool) -> None:
    assert adapted_encoder(encoder("test_vit.r160_in1k"), pool, seed=0) is None
