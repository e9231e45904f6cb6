"""Near-copies: the same picture saved again, turned, mirrored, cut a little or made brighter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.cells import index_of
from hundredfold.data.likeness import ALIKE, WAYS, grey, likeness, turned
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.files import write_json
from hundredfold.progress import bar

__all__ = ["MOST_IMAGES", "clusters_of", "confirmed", "described", "laid", "near_duplicates"]

#: More images are not compared.
MOST_IMAGES = 1_000_000
#: Beyond so many the nearest are sought in the nearest of many cells.
EXACT = 50_000
VERSION = 3  # of what is found: raise it when the search changes
#: Side in px of the thumbnails by which candidates are found.
COARSE = 16
#: Principal components of the thumbnails.
COMPONENTS = 64
#: Candidates: the nearest in each way, not below this correlation, and at most so many an image.
NEAREST, COARSELY_ALIKE, MOST = 5, 0.85, 5
#: A copy may be this much brighter or darker, and its colours may differ so much more (natural logarithms).
BRIGHTER, OTHER_COLOUR = 0.25, 0.08
#: Ways that fit this much less than the best are looked at as well.
AS_GOOD = 0.05
FITTED_TO = 20_000
#: So many images or pairs are worked on at a time.
BLOCK_ROWS = 65_536

Grey: TypeAlias = NDArray[np.float32]
Rows: TypeAlias = NDArray[np.int64]
#: First row, second row, way and likeness of two near-copies.
Pair: TypeAlias = tuple[int, int, int, float]


class Candidate(NamedTuple):
    """Two rows of the store, and the ways to lay the first upon the second."""

    first: int
    second: int
    ways: tuple[int, ...]


COLUMNS = ("first", "second", "likeness", "turns", "mirrored")


def near_duplicates(store: PixelStore) -> pd.DataFrame:
    """Find the pairs of images that show the same, whatever was done to one of them.

    Candidates are each image's nearest by the principal components of 16 px thumbnails, in all eight ways to
    lay a square. A candidate is then laid upon the image, and their fine details are correlated block by
    block (:func:`~hundredfold.data.likeness.likeness`): cells of one kind are alike at a glance, and never in
    all their details. Of colours only the means are compared, which stain and lamp change and a copy keeps.

    What is found is kept in the store's folder, for the next scan of the same images.

    Args:
        store: the images; all of them are compared.

    Returns:
        A row a pair: first and second (ids, in the order of the store), likeness (correlation of the
        details, from ``ALIKE`` to 1), turns (quarter turns, anticlockwise, that lay the first upon the
        second) and mirrored (whether it is then mirrored left to right).
    """
    path = store.folder / "near_duplicates.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if (kept.get("version"), kept.get("images")) != (VERSION, len(store)):
        kept = {"version": VERSION, "images": len(store), "pairs": _pairs(store)}
        write_json(path, kept)
    return _table(kept["pairs"], store)


def _pairs(store: PixelStore) -> list[Pair]:
    if len(store) < 2:
        return []
    tiny = np.empty((len(store), COARSE, COARSE), dtype=np.uint8)
    light = np.empty((len(store), 3))
    for row, pixels in enumerate(store.array):
        tiny[row], light[row] = grey(pixels, COARSE), cv2.mean(pixels)[:3]
    light = np.log1p(light)
    candidates = [one for one in _candidates(tiny) if _lit_alike(light[one.first] - light[one.second])]
    return _judged(store, candidates, ALIKE)


def confirmed(store: PixelStore, pairs: Iterable[tuple[int, int]], *, alike: float) -> pd.DataFrame:
    """Those of some pairs of rows that are near-copies, with the columns of :func:`near_duplicates`."""
    pairs = list(pairs)
    rows = {row for pair in pairs for row in pair}
    light = {row: np.log1p(cv2.mean(store.array[row])[:3]) for row in rows}
    tiny = {row: grey(store.array[row], COARSE) for row in rows}
    lit = [
        Candidate(a, b, _fitting(tiny[a], tiny[b])) for a, b in pairs if _lit_alike(light[a] - light[b])
    ]
    return _table(_judged(store, lit, alike), store)


def _fitting(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[int, ...]:
    """The ways to lay one thumbnail upon another that fit about as well as the best."""
    every = np.stack([turned(first, way) for way in range(WAYS)])
    values = _units(every) @ _units(second[None])[0]
    return tuple(np.flatnonzero(values >= values.max() - AS_GOOD).tolist())


def _judged(store: PixelStore, candidates: Sequence[Candidate], alike: float) -> list[Pair]:
    found = []
    with ThreadPoolExecutor() as pool, bar("Looking for near-copies", len(candidates), "pairs") as progress:
        for start in range(0, len(candidates), BLOCK_ROWS):
            some = candidates[start : start + BLOCK_ROWS]
            judged = pool.map(
                lambda one: likeness(store.array[one.first], store.array[one.second], one.ways), some
            )
            for candidate, (value, way) in zip(some, judged, strict=True):
                if value >= alike:
                    found.append((candidate.first, candidate.second, way, round(value, 4)))
                progress.advance()
    return sorted(found)


def clusters_of(pairs: pd.DataFrame | None, ids: Sequence[str] | NDArray[np.object_]) -> pd.Series:
    """The cluster of each image that belongs to a pair, called by its first id; missing for the others.

    Pairs with an image that is not among the ids count for nothing.

    Examples:
        >>> pairs = pd.DataFrame({"first": ["a", "b"], "second": ["b", "c"]})
        >>> clusters_of(pairs, ["a", "b", "c", "d"]).tolist()
        ['a', 'a', 'a', nan]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    index = pd.Index(ids, dtype=object)
    places = np.empty((0, 2), dtype=np.int64)
    if pairs is not None:
        places = np.stack([index.get_indexer(pd.Index(pairs[name])) for name in ("first", "second")], axis=1)
        places = places[(places >= 0).all(axis=1)]
    graph = coo_array((np.ones(len(places)), (places[:, 0], places[:, 1])), shape=(len(index), len(index)))
    parts = pd.Series(connected_components(graph, directed=False)[1])
    names = pd.Series(index).groupby(parts).transform("first").astype("str")
    return names.where(parts.groupby(parts).transform("size") > 1)


def described(pairs: pd.DataFrame, table: ImageTable) -> pd.DataFrame:
    """The pairs of a table with labels and sides: those of two labels first, then the least alike."""
    frame = table.frame.set_index("id")[["label", "split"]]
    known = pairs["first"].isin(frame.index) & pairs["second"].isin(frame.index)
    pairs = pairs[known]
    for name in ("first", "second"):
        for fact in ("label", "split"):
            pairs = pairs.assign(**{f"{name}_{fact}": frame[fact].reindex(pairs[name]).to_numpy()})
    both = pairs["first_label"].notna() & pairs["second_label"].notna()
    torn = both & (pairs["first_label"] != pairs["second_label"])
    order = pairs.assign(torn=~torn).sort_values(["torn", "likeness"], kind="stable").index
    return pairs.loc[order].reset_index(drop=True)


def laid(pixels: NDArray[np.uint8], turns: int, *, mirrored: bool) -> NDArray[np.uint8]:
    """The first image of a pair [h,w,c] as its near-copy lies, by the columns of :func:`near_duplicates`.

    Examples:
        >>> laid(np.array([[[1], [2]], [[3], [4]]], dtype=np.uint8), 1, mirrored=True)[..., 0].tolist()
        [[4, 2], [3, 1]]
    """
    turned = np.rot90(pixels, turns)
    return turned[:, ::-1] if mirrored else turned


def _table(found: Sequence[Pair], store: PixelStore) -> pd.DataFrame:
    ids = store.ids
    rows = [(ids[a], ids[b], like, way % 4, way >= 4) for a, b, way, like in found]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _candidates(tiny: NDArray[np.uint8]) -> list[Candidate]:
    """The pairs to be looked at closely, of thumbnails [n,s,s]."""
    axes = _axes(tiny)
    known = _places(tiny, axes, way=0)
    index = index_of(known, exact=EXACT)
    first, second, ways, values = zip(*(_near(index, tiny, axes, way) for way in range(WAYS)), strict=True)
    return _fewest(*(np.concatenate(one) for one in (first, second, ways, values)), images=len(tiny))


def _near(
    index: Any, tiny: NDArray[np.uint8], axes: Grey, way: int
) -> tuple[Rows, Rows, Rows, NDArray[np.float32]]:
    """The nearest to each thumbnail laid in one way: first and second rows, way and correlation of each."""
    asked = _places(tiny, axes, way)
    values, rows = index.search(asked, min(NEAREST + 1, len(tiny)))
    own, place = np.nonzero((values >= COARSELY_ALIKE) & (rows >= 0))
    other, value = rows[own, place], values[own, place]
    # That a lies upon b turned this way means that b lies upon a turned back.
    back = np.where(own < other, way, _inverse(way))
    strangers = own != other
    pair = np.sort(np.stack([own, other]), axis=0)[:, strangers]
    return pair[0], pair[1], back[strangers], value[strangers]


def _lit_alike(difference: NDArray[np.float64]) -> bool:
    """Whether two images are about as bright and of one colour, by the difference of the logarithms [3]."""
    return bool(np.abs(difference).max() <= BRIGHTER and np.ptp(difference) <= OTHER_COLOUR)


def _inverse(way: int) -> int:
    """The way that undoes one: a mirrored way undoes itself."""
    return way if way >= 4 else -way % 4


def _fewest(
    first: Rows, second: Rows, ways: Rows, values: NDArray[np.float32], *, images: int
) -> list[Candidate]:
    """The pairs most alike, at most ``MOST`` for one of their images; of round things several ways fit."""
    order = np.lexsort((ways, -values, second, first))
    first, second, ways, values = first[order], second[order], ways[order], values[order]
    begins = np.flatnonzero(np.diff(first * images + second, prepend=-1))  # of each pair, its best way
    ends = np.append(begins[1:], len(first))
    taken = [0] * images
    kept = []
    for pair in np.argsort(-values[begins], kind="stable"):
        start, end = int(begins[pair]), int(ends[pair])
        a, b = int(first[start]), int(second[start])
        if min(taken[a], taken[b]) < MOST:
            taken[a] += 1
            taken[b] += 1
            fitting = ways[start:end][values[start:end] >= values[start] - AS_GOOD]
            kept.append(Candidate(a, b, tuple(dict.fromkeys(fitting.tolist()))))
    return kept


def _places(tiny: NDArray[np.uint8], axes: Grey, way: int) -> Grey:
    """Thumbnails [n,s,s], laid in one of the ways, as vectors of length 1 [n,COMPONENTS]."""
    found = np.empty((len(tiny), axes.shape[1]), dtype=np.float32)
    for start in range(0, len(tiny), BLOCK_ROWS):
        some = slice(start, start + BLOCK_ROWS)
        found[some] = _length_one(_units(turned(tiny[some], way)) @ axes)
    return found


def _units(images: NDArray[np.uint8]) -> Grey:
    """Images [n,s,s] as vectors [n,s²] of mean 0 and length 1: brightness and contrast are taken out."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    return _length_one(flat - flat.mean(axis=1, keepdims=True))


def _length_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return np.ascontiguousarray(vectors / lengths, dtype=np.float32)


def _axes(tiny: NDArray[np.uint8]) -> Grey:
    """The directions of most energy [d,COMPONENTS]."""
    some = _units(tiny[:: max(1, len(tiny) // FITTED_TO)]).astype(np.float64)
    return np.asarray(np.linalg.eigh(some.T @ some)[1][:, -COMPONENTS:], dtype=np.float32)
